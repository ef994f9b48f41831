<?php
/**
 * Tests session.php: php test.php [TEST...]
 *
 * Each request is a process of php-cgi (or of the program that PHP_CGI names),
 * and a Site is in place of Caddy: it gives data in request headers and takes
 * changes from response headers. Written in PHP 7.4.
 */

final class Site
{
    /** @var array|null the session's data, as decoded JSON; null without a session */
    public $data;
    /** @var array<string, string> more of the environment */
    public $environment = ['HTTP_X_SESSION_NEW_ID' => 'nnnnnnnnnnnnnnnnnnnnnn'];
    /** @var string[] the header lines of the last response, in lower case up to the colon */
    public $headers;
    /** @var string what PHP logged in the last request */
    public $log;
    /** @var string[] settings in php.ini */
    public $ini = ['output_buffering=4096'];

    public function __construct(?array $data = null)
    {
        $this->data = $data;
    }

    /** A session that PHP has seen before. */
    public static function with(array $data): self
    {
        return new self($data + ['_php' => ['id' => str_repeat('5', 32)]]);
    }

    /** Runs a script and returns what it prints. */
    public function run(string $script): string
    {
        $file = tempnam(sys_get_temp_dir(), 'caddy-session');
        file_put_contents($file, '<?php ' . $script);
        $environment = $this->environment + [
            'PATH' => getenv('PATH'), 'HOME' => getenv('HOME'),
            'REQUEST_METHOD' => 'GET', 'SCRIPT_FILENAME' => $file, 'REDIRECT_STATUS' => '200',
        ];
        if ($this->data !== null) {
            $environment += ['HTTP_X_SESSION_ID' => 'iiiiiiiiiiiiiiiiiiiiii', 'HTTP_X_SESSION_DATA' => text($this->data)];
        }
        $command = [getenv('PHP_CGI') ?: 'php-cgi', '-n'];
        foreach (array_merge(['auto_prepend_file=' . __DIR__ . '/session.php', 'display_errors=0', 'log_errors=1', 'error_log=' . $file . '.log',
            'session.save_path=' . sys_get_temp_dir()], $this->ini) as $setting) {
            array_push($command, '-d', $setting);
        }
        $process = proc_open($command, [1 => ['pipe', 'w'], 2 => ['file', '/dev/null', 'w']], $pipes, null, $environment);
        $output = stream_get_contents($pipes[1]);
        proc_close($process);
        $this->log = (string) @file_get_contents($file . '.log');
        @unlink($file . '.log');
        unlink($file);

        [$head, $body] = explode("\r\n\r\n", $output, 2) + [1 => ''];
        $this->headers = [];
        foreach (explode("\r\n", $head) as $line) {
            [$name, $value] = explode(':', $line, 2) + [1 => ''];
            $this->headers[] = strtolower($name) . ':' . $value;
        }
        $this->commit();
        return $body;
    }

    /** Returns the values of the last response's lines of one name. */
    public function header(string $name): array
    {
        $values = [];
        foreach ($this->headers as $line) {
            if (strpos($line, strtolower($name) . ': ') === 0) {
                $values[] = substr($line, strlen($name) + 2);
            }
        }
        return $values;
    }

    /** Returns the object of the last response's X-Session-Set or X-Session-Put. */
    public function object(string $name): ?array
    {
        $values = $this->header('X-Session-' . $name);
        same(true, count($values) <= 1, 'one line');
        if (!$values) {
            return null;
        }
        same(1, preg_match('/^[ -~]+$/D', $values[0]), 'printable ASCII: ' . json_encode($values[0]));
        return tree(json_decode($values[0], false, 32, JSON_THROW_ON_ERROR));
    }

    public function control(): array
    {
        return $this->header('X-Session-Control') ? preg_split('/, */', implode(',', $this->header('X-Session-Control'))) : [];
    }

    private function commit(): void
    {
        $control = $this->control();
        if (in_array('destroy', $control, true)) {
            $this->data = null;
            return;
        }
        $put = $this->object('Put');
        $set = $this->object('Set');
        if (in_array('clear', $control, true)) {
            $this->data = [];
        }
        if ($put || $set !== null) {
            $this->data = patch(($put ?? []) + ($this->data ?? []), $set ?? []);
        }
    }
}

/** Objects as arrays with the key {} first, so that lists and objects stay apart. */
function tree($value)
{
    if ($value instanceof stdClass) {
        $members = array_map('tree', (array) $value);
        ksort($members, SORT_STRING);
        return $members + ['{}' => true];
    }
    return is_array($value) ? array_map('tree', $value) : $value;
}

function patch($value, $patch)
{
    if (!is_array($patch) || $patch !== [] && !isset($patch['{}'])) {
        return $patch;
    }
    $value = is_array($value) ? $value : [];
    foreach ($patch as $key => $member) {
        if ($member === null) {
            unset($value[$key]);
        } else {
            $value[$key] = patch($value[$key] ?? null, $member);
        }
    }
    return $value;
}

/** Returns data as Caddy sends it: keys sorted. */
function text(array $data): string
{
    return json_encode(untree($data + ['{}' => true]), JSON_PRESERVE_ZERO_FRACTION | JSON_UNESCAPED_SLASHES);
}

function untree($value)
{
    if (!is_array($value)) {
        return $value;
    }
    $object = isset($value['{}']) || array_keys($value) !== array_keys(array_keys($value));
    unset($value['{}']);
    ksort($value, SORT_STRING);
    $value = array_map('untree', $value);
    return $object ? (object) $value : $value;
}

/** Returns a tree without what is PHP's own. */
function others(?array $object): ?array
{
    unset($object['_php']);
    return $object === ['{}' => true] ? null : $object;
}

function same($want, $got, string $what = ''): void
{
    if ($want !== $got) {
        throw new Exception(trim("$what\nwant " . var_export($want, true) . "\ngot  " . var_export($got, true)));
    }
}

function contains(string $part, string $text): void
{
    if (strpos($text, $part) === false) {
        throw new Exception("want $part in $text");
    }
}

$tests = [];

// What PHP's arrays can't hold: [] is {}, and ["a"] is {"0":"a"}.
const NOT_IN_PHP = ['an empty list is not an empty object', 'an empty object is not absent', 'a list takes the place of an object'];

$tests['vectors'] = function () {
    $failed = [];
    foreach (json_decode(file_get_contents(__DIR__ . '/../vectors.json')) as $vector) {
        $site = Site::with(tree($vector->before));
        $clear = ($vector->control ?? '') === 'clear' ? 'session_destroy(); session_start();' : '';
        $site->run("session_start(); $clear \$_SESSION = json_decode(base64_decode('" . base64_encode(json_encode($vector->after, JSON_PRESERVE_ZERO_FRACTION)) . "'), true);");
        same('', $site->log, $vector->name);
        $want = [isset($vector->set) ? tree($vector->set) : null, isset($vector->put) ? tree($vector->put) : null, isset($vector->control) ? [$vector->control] : []];
        $got = [others($site->object('Set')), $site->object('Put'), $site->control()];
        if ($got !== $want) {
            if (!in_array($vector->name, NOT_IN_PHP, true)) {
                same($want, $got, $vector->name);
            }
            $failed[] = $vector->name;
        }
    }
    same(NOT_IN_PHP, $failed, 'vectors that PHP cannot hold');
};

$tests['the first session_start begins a session, and session_id stays'] = function () {
    $site = new Site();
    $id = $site->run('session_start(); echo session_id();');
    same(1, preg_match('/^[0-9a-f]{32}$/', $id));
    same($id, $site->object('Set')['_php']['id']);
    same([], $site->header('Set-Cookie'));
    same($id, $site->run('session_start(); echo session_id();'));
    same(null, $site->object('Set'), 'nothing changed');
    same([], $site->control());
    same("array (\n)", $site->run('session_start(); var_export($_SESSION);'));
};

$tests['session_start begins no session alone if that is wanted'] = function () {
    $site = new Site();
    $site->environment['CADDY_SESSION_LAZY'] = 'on';
    $site->run('session_set_cookie_params(3600); session_start(); unset($_SESSION["a"]);');
    same([null, [], []], [$site->object('Set'), $site->control(), $site->header('Set-Cookie')]);
    $site->run('session_start(); $_SESSION["a"] = 1;');
    same(['_php', 'a', '{}'], array_keys($site->object('Set')));
    $site->run('session_start(); unset($_SESSION["a"]);');
    same(['a' => null, '{}' => true], $site->object('Set'));
};

$tests['without session_start nothing is sent or parsed'] = function () {
    $site = new Site(['a' => 1]);
    $site->environment['HTTP_X_SESSION_DATA'] = 'no JSON';
    same('ok', $site->run('echo "ok";'));
    same(['', null], [$site->log, $site->object('Set')]);
};

$tests['another language has begun the session'] = function () {
    $site = new Site(['user' => 'zoë', 'cart' => ['sku' => 2, '{}' => true], 'empty' => ['{}' => true], 'a|b' => 1, '7' => 'seven']);
    same('zoë2', $site->run('session_start(); echo $_SESSION["user"], $_SESSION["cart"]["sku"]; $_SESSION["cart"]["other"] = 1;'));
    $set = $site->object('Set');
    unset($set['_php']);
    same(['cart' => ['other' => 1, '{}' => true], '{}' => true], $set);
    same('a:5:{', substr($site->run('session_start(); echo serialize($_SESSION);'), 0, 5));
    same(null, $site->object('Set'));
};

$tests['what JSON cannot say'] = function () {
    $site = new Site();
    $site->run('session_start();
        $_SESSION["object"] = new ArrayObject(["x" => 1]);
        $_SESSION["bytes"] = "\xff\0\xfe";
        $_SESSION["key\xff"] = 1;
        $_SESSION["nan"] = NAN;
        $_SESSION["inf"] = [1, INF];
        $_SESSION["deep"] = array_reduce(range(1, 40), function ($a) { return [$a]; }, 1);
        $_SESSION["wide"] = array_fill_keys(range(10000, 12000), 1);
        $_SESSION[str_repeat("k", 300)] = "long";
        $_SESSION["long"] = [str_repeat("k", 300) => 1];
        $_SESSION["_php"] = "mine";
        $_SESSION[5] = new stdClass;
        $_SESSION[0] = "zero";
        $_SESSION[""] = new stdClass;
        $_SESSION["nul\0"] = "a\0b";');
    same('', $site->log);
    same(['0', '_php', "nul\0"], array_map('strval', array_keys(array_diff_key($site->data, ['{}' => 1]))));
    same('14 1 ff00fe 1 1 1 2001 1 1 1 1 1 1 1', $site->run('session_start(); $s = $_SESSION;
        echo count($s), " ", $s["object"]["x"], " ", bin2hex($s["bytes"]), " ", $s["key\xff"], " ", (int) is_nan($s["nan"]), " ",
            (int) is_infinite($s["inf"][1]), " ", count($s["wide"]), " ", (int) ($s[str_repeat("k", 300)] === "long"), " ",
            (int) ($s["long"] === [str_repeat("k", 300) => 1]), " ", (int) ($s["_php"] === "mine"), " ", (int) ($s[5] == new stdClass), " ",
            (int) ($s[0] === "zero"), " ", (int) ($s[""] == new stdClass), " ", (int) ($s["nul\0"] === "a\0b");') . '');
    same(null, $site->object('Set'), 'unchanged objects');
    $site->run('session_start(); $_SESSION["object"]["x"] = 2; unset($_SESSION["nan"]);');
    same(['nan', 'object', '{}'], array_keys($site->object('Set')['_php']['values']));
    same('2', $site->run('session_start(); echo $_SESSION["object"]["x"];'));
    $site->run('session_start(); $_SESSION["object"] = "text";');
    same('text', $site->data['object']);
    same(false, isset($site->data['_php']['values']['object']));
};

$tests['references and objects in two keys'] = function () {
    $site = new Site();
    $site->run('session_start();
        $_SESSION["plain"] = [1];
        $outside = &$_SESSION["plain"];
        $_SESSION["alone"] = new ArrayObject;
        $o = new stdClass; $_SESSION["a"] = $o; $_SESSION["b"] = ["o" => $o];
        $_SESSION["n"] = 1; $_SESSION["m"] = &$_SESSION["n"];
        $_SESSION["loop"] = ["x" => 1]; $_SESSION["loop"]["self"] = &$_SESSION["loop"];');
    same([1], $site->data['plain'], 'a reference from outside');
    same(false, isset($site->data['n']) || isset($site->data['m']));
    same('1 2 2 1', $site->run('session_start(); $_SESSION["a"]->v = 1; $_SESSION["n"] = 2;
        echo $_SESSION["b"]["o"]->v, " ", $_SESSION["m"], " ", $_SESSION["n"], " ", $_SESSION["loop"]["self"]["self"]["x"];'));
    same('1 2', $site->run('session_start(); echo $_SESSION["b"]["o"]->v, " ", $_SESSION["m"];'));
    same(null, $site->object('Set'));
};

$tests['objects wake up once'] = function () {
    $site = new Site();
    $class = 'class Waker { public $n = 1; public $r; function __wakeup() { echo "w"; } } ';
    $site->run($class . 'session_start(); $_SESSION["a"] = new Waker; $_SESSION["b"] = new Waker; $_SESSION["b"]->r = &$_SESSION["b"]->n; $_SESSION["c"] = 1;');
    same('ww', $site->run($class . 'session_start();'));
    same('w', $site->run($class . 'session_start();unset($_SESSION["b"]);') === 'ww' ? 'w' : '');
    same('w1', $site->run($class . 'session_start(); echo $_SESSION["c"];'));
    // A class that is not there any more survives.
    $site->run('session_start(); $_SESSION["c"] = 2;');
    same('w2', $site->run($class . 'session_start(); echo $_SESSION["c"];'));
};

$tests['parallel requests'] = function () {
    $site = Site::with([]);
    $site->run('session_start(); $_SESSION["o"] = new ArrayObject; $_SESSION["cart"] = ["z" => 1, "a" => 1];');
    $first = clone $site;
    $first->run('session_start(); $_SESSION["p"] = new ArrayObject([1]); $_SESSION["cart"]["b"] = 1; $_SESSION["x"] = 1;');
    $second = clone $site;
    $second->run('session_start(); $_SESSION["q"] = new ArrayObject([2]); $_SESSION["cart"]["c"] = 1; $_SESSION["y"] = 1;');
    $second->data = patch($first->data, $second->object('Set'));
    same('cart o p q x y|z a c b|12', $second->run('session_start(); $keys = array_keys($_SESSION); sort($keys);
        echo implode(" ", $keys), "|", implode(" ", array_keys($_SESSION["cart"])), "|", $_SESSION["p"][0], $_SESSION["q"][0];'));
};

$tests['the order of keys'] = function () {
    $site = new Site();
    $site->run('session_start(); $_SESSION["trail"] = ["start" => "a", "about" => ["z" => 1, "b" => 2], "10" => 1, "9" => 1, "list" => [["q" => 1, "p" => 2], ["a" => 1]]];');
    same('{"start":"a","about":{"z":1,"b":2},"10":1,"9":1,"list":[{"q":1,"p":2},{"a":1}]}', $site->run('session_start(); echo json_encode($_SESSION["trail"]);'));
    same(null, $site->object('Set'));
    $site->run('session_start(); $v = $_SESSION["trail"]["start"]; unset($_SESSION["trail"]["start"]); $_SESSION["trail"]["start"] = $v;');
    same(['_php', '{}'], array_keys($site->object('Set')), 'only the order');
    same('about 10 9 list start', $site->run('session_start(); echo implode(" ", array_keys($_SESSION["trail"]));'));
    $site->data['trail']['new'] = 1;
    same('about 10 9 list start new', $site->run('session_start(); echo implode(" ", array_keys($_SESSION["trail"]));'));
};

$tests['what was empty, or a list, stays that'] = function () {
    $site = Site::with(['o' => ['{}' => true], 'l' => [], 'n' => ['x' => ['{}' => true], '{}' => true], 'in' => [['e' => ['{}' => true], '{}' => true]], 'f' => 1.0]);
    $site->run('session_start(); $_SESSION["touched"] = 1;');
    same(['touched' => 1, '{}' => true], $site->object('Set'));
    $site->run('session_start(); $_SESSION["n"]["y"] = 1; $_SESSION["in"][] = 2; $_SESSION["o"]["k"] = 1; $_SESSION["l"][] = 1; $_SESSION["g"] = 2.0;');
    same(text(['g' => 2.0, 'in' => [['e' => ['{}' => true], '{}' => true], 2], 'l' => [1], 'n' => ['y' => 1], 'o' => ['k' => 1]]), text($site->object('Set')));
    same('float', $site->run('session_start(); echo str_replace("double", "float", gettype($_SESSION["g"]));'));
};

$tests['session_regenerate_id renews'] = function () {
    foreach (['true', 'false'] as $delete) {
        $site = Site::with(['user' => 'alice']);
        $id = $site->run("session_start(); \$_SESSION['n'] = 1; session_regenerate_id($delete); \$_SESSION['m'] = 1; echo session_id();");
        same(['renew'], $site->control());
        same(['_php' => ['id' => $id, '{}' => true], 'm' => 1, 'n' => 1, '{}' => true], $site->object('Set'));
        same(false, $id === str_repeat('5', 32));
        same("$id alice 1 1", $site->run('session_start(); echo session_id(), " ", implode(" ", [$_SESSION["user"], $_SESSION["n"], $_SESSION["m"]]);'));
        same([], $site->control());
    }
    // And the session can be closed and opened again.
    $site = Site::with(['user' => 'alice']);
    $ids = $site->run('session_start(); session_regenerate_id(true); echo session_id(); session_write_close(); session_start(); echo " ", session_id(), $_SESSION["user"];');
    same(1, preg_match('/^(\w{32}) \1alice$/', $ids), $ids);
    // A session that is new has nothing to renew.
    $site = new Site();
    $id = $site->run('session_start(); session_regenerate_id(true); echo session_id();');
    same([[], $id], [$site->control(), $site->data['_php']['id']]);
};

$tests['session_destroy ends the session'] = function () {
    $site = Site::with(['user' => 'alice', '_other' => 1]);
    same('1', $site->run('session_start(); $_SESSION = []; setcookie(session_name(), "", time() - 42000, "/"); echo session_destroy();'));
    same([['destroy'], null, null, []], [$site->control(), $site->object('Set'), $site->object('Put'), $site->header('Set-Cookie')]);
    $site = new Site();
    $site->run('session_start(); session_destroy();');
    same([[], null], [$site->control(), $site->object('Set')]);
};

$tests['session_destroy and another session'] = function () {
    $site = Site::with(['user' => 'alice']);
    $id = $site->run('session_start(); session_destroy(); session_start(); session_regenerate_id(true); $_SESSION["message"] = "bye"; echo session_id();');
    same(['clear'], $site->control());
    same(['_php' => ['id' => $id, '{}' => true], 'message' => 'bye', '{}' => true], $site->object('Set'));
};

$tests['session_unset, unset and an empty array'] = function () {
    foreach (['session_unset();', '$_SESSION = [];', 'foreach ($_SESSION as $k => $_) { unset($_SESSION[$k]); }'] as $code) {
        $site = Site::with(['user' => 'alice']);
        $site->run('session_start(); ' . $code);
        same(['user' => null, '{}' => true], $site->object('Set'));
    }
    $site = Site::with(['user' => 'alice']);
    $site->run('session_start(); unset($_SESSION);');
    same(null, $site->object('Set'), 'PHP saves nothing after unset($_SESSION)');
};

$tests['session_write_close ends changes'] = function () {
    $site = Site::with([]);
    $site->run('session_start(); $_SESSION["a"] = 1; session_write_close(); $_SESSION["b"] = 1; echo str_repeat("x", 10000);');
    same(['a' => 1, '{}' => true], $site->object('Set'));
    $site->run('session_start(); $_SESSION["c"] = 1; session_write_close(); session_start(); $_SESSION["d"] = $_SESSION["c"] + 1; session_commit();');
    same(['c' => 1, 'd' => 2, '{}' => true], $site->object('Set'));
    // What the application does to all headers does not undo it.
    $site->run('session_start(); $_SESSION["e"] = 1; session_write_close(); header_remove(); echo "x";');
    same(['e' => 1, '{}' => true], $site->object('Set'));
    // An object that changes after it was saved is not saved again.
    $site->run('session_start(); $o = $_SESSION["o"] = new ArrayObject([1]); session_write_close(); $o[0] = 2;');
    same('1', $site->run('session_start(); echo $_SESSION["o"][0];'));
};

$tests['session_abort and session_reset'] = function () {
    $site = Site::with(['a' => 1]);
    $site->run('session_start(); $_SESSION["a"] = 2; session_abort();');
    same(null, $site->object('Set'));
    same('1', $site->run('session_start(); $_SESSION["a"] = 2; session_reset(); echo $_SESSION["a"];'));
    same(null, $site->object('Set'));
    same('2', $site->run('session_start(); $_SESSION["a"] = 2; session_write_close(); session_start(); $_SESSION["a"] = 3; session_reset(); echo $_SESSION["a"];'));
    same(['a' => 2, '{}' => true], $site->object('Set'));
};

$tests['read_and_close, lazy_write and other options'] = function () {
    $site = Site::with(['a' => 1]);
    same('11', $site->run('session_start(["read_and_close" => true]); echo $_SESSION["a"], session_status(); $_SESSION["a"] = 2;'));
    same(null, $site->object('Set'));
    foreach (['true', 'false'] as $lazy) {
        $site->run("session_start(['lazy_write' => $lazy, 'cookie_httponly' => true, 'gc_maxlifetime' => 60]); \$_SESSION['lazy'] = $lazy;");
        same(['lazy' => $lazy === 'true', '{}' => true], $site->object('Set'));
        $site->run("session_start(['lazy_write' => $lazy]);");
        same(null, $site->object('Set'));
    }
};

$tests['PHP sends no cookie'] = function () {
    $site = new Site();
    $site->environment['HTTP_COOKIE'] = 'PHPSESSID=0123456789abcdef0123456789abcdef; APP=0123456789abcdef0123456789abcdef';
    $id = $site->run('ini_set("session.use_cookies", "1"); session_name("APP");
        session_set_cookie_params(["lifetime" => 0, "path" => "/app", "samesite" => "Lax"]); session_start();
        setcookie("theme", "dark"); setcookie("APPLE", "red"); setcookie(session_name(), session_id(), 0, "/");
        echo session_id(), " ", session_name(), " ", session_get_cookie_params()["path"], defined("SID") ? SID : "";');
    same(['theme=dark', 'APPLE=red'], $site->header('Set-Cookie'));
    same($site->data['_php']['id'] . ' APP /app', $id);
    same([], $site->control());
};

$tests['scripts see a cookie if there is a session'] = function () {
    $look = 'echo isset($_COOKIE[session_name()]) ? 1 : 0; session_start(); echo isset($_COOKIE[session_name()]) ? 1 : 0, session_id() === $_COOKIE[session_name()] ? 1 : 0;';
    $site = new Site();
    $site->environment['HTTP_COOKIE'] = 'PHPSESSID=0123456789abcdef0123456789abcdef';
    same('00', $site->run('error_reporting(0); ' . str_replace(', session_id', '; // ', $look)));
    same('111', $site->run($look));
    same('011', $site->run('session_name("APP"); ' . $look));
    $site = new Site(['a' => '"_php":{"id":"0123456789abcdef0123456789abcdef"']); // begun by another language
    same('111', $site->run($look));
    same(false, in_array($site->data['_php']['id'], ['0123456789abcdef0123456789abcdef', 'iiiiiiiiiiiiiiiiiiiiii'], true));
    same('', $site->log);
};

$tests['the lifetime of the cookie'] = function () {
    $site = new Site();
    $site->run('session_set_cookie_params(3600); session_start();');
    same(['max-age=3600'], $site->control());
    $site->run('session_set_cookie_params(3600); session_start();');
    same([], $site->control(), 'PHP sends the cookie with a new id only');
    $site->run('session_start(["cookie_lifetime" => 60]); session_regenerate_id();');
    same(['renew', 'max-age=60'], $site->control());
    $site->run('session_start(); setcookie(session_name(), session_id(), time() + 86400, "/");');
    same([['max-age=86400'], []], [$site->control(), $site->header('Set-Cookie')]);
};

$tests['header_register_callback of the application'] = function () {
    foreach (['', 'echo "early";', 'ob_start();', 'flush();'] as $between) {
        foreach (['output_buffering=0', 'output_buffering=4096'] as $buffering) {
            $site = Site::with([]);
            $site->ini = [$buffering];
            $site->run("session_start(); \$_SESSION['a'] = 1; header_register_callback(function () { header('X-Mine: yes'); header_remove('X-Powered-By'); });
                \$_SESSION['b'] = 1; $between " . ($between === 'echo "early";' && $buffering === 'output_buffering=0' ? '' : '$_SESSION["c"] = 1;') . ' echo str_repeat("x", 9000);');
            same(['yes'], $site->header('X-Mine'), $between . $buffering);
            same([], $site->header('X-Powered-By'));
            same('', $site->log, $between . $buffering);
            same(['a', 'b'], array_slice(array_keys($site->object('Set')), 0, 2), $between . $buffering);
        }
    }
    // Who throws all buffers away loses what comes between that and the output, and is told.
    $site->ini = ['output_buffering=0'];
    $site->run('session_start(); header_register_callback(function () { header("X-Mine: yes"); }); $_SESSION["d"] = 1;
        while (ob_get_level()) { ob_end_clean(); } $_SESSION["e"] = 1; echo "x";');
    same([['yes'], ['d' => 1, '{}' => true]], [$site->header('X-Mine'), $site->object('Set')]);
    contains('not saved: e (', $site->log);
    // Before the session starts, with no output at all, and twice.
    $site = Site::with([]);
    same('', $site->run('header_register_callback(function () { header("X-Mine: no"); }); header_register_callback(function () { header("X-Mine: yes"); });
        session_start(); $_SESSION["a"] = 1; header("Location: /"); exit;'));
    same([['yes'], ['a' => 1, '{}' => true]], [$site->header('X-Mine'), $site->object('Set')]);
};

$tests['output, flush and exit'] = function () {
    foreach (['output_buffering=0', 'output_buffering=4096', 'zlib.output_compression=1', 'implicit_flush=1'] as $setting) {
        foreach (['echo "x";', 'echo str_repeat("x", 100000);', 'echo "x"; flush();', 'ob_start(); echo "x"; ob_end_flush();', 'header("Location: /", true, 303); exit;', 'die("x");', 'readfile(__FILE__);', ''] as $code) {
            $site = Site::with([]);
            $site->ini = [$setting];
            $site->run('session_start(); $_SESSION["a"] = 1; ' . $code);
            same([['a' => 1, '{}' => true], ''], [$site->object('Set'), $site->log], "$setting $code");
        }
    }
};

$tests['shutdown functions and destructors'] = function () {
    $site = Site::with([]);
    $site->run('session_start(); register_shutdown_function(function () { $_SESSION["shutdown"] = 1; });
        class D { function __destruct() { $_SESSION["destructor"] = 1; } } $d = new D; echo "x";');
    same([['destructor' => 1, 'shutdown' => 1, '{}' => true], ''], [$site->object('Set'), $site->log]);
};

$tests['errors that end a script'] = function () {
    foreach (['throw new Exception("no");', 'undefined_function();', 'trigger_error("no", E_USER_ERROR);', 'ini_set("memory_limit", "4M"); str_repeat("x", 1 << 26);'] as $code) {
        foreach (['display_errors=0', 'display_errors=1'] as $display) {
            $site = Site::with([]);
            $site->ini = [$display, 'output_buffering=0'];
            $site->run('session_start(); $_SESSION["a"] = 1; ' . $code);
            if (strpos($code, 'memory') && $display === 'display_errors=1') {
                // PHP shows this error without asking its callback before, or not.
                same([], $site->header('Set-Cookie'));
                same($site->object('Set') === null, strpos($site->log, 'not saved: a (') !== false);
                continue;
            }
            same(['a' => 1, '{}' => true], $site->object('Set'), "$display $code");
            same(0, substr_count($site->log, 'caddy-session:'), $site->log);
        }
    }
};

$tests['changes after the head are an error'] = function () {
    $site = Site::with(['gone' => 1, 'cart' => ['a' => 1, '{}' => true]]);
    $site->ini = ['output_buffering=0'];
    $site->run('session_start(); $_SESSION["early"] = 1; echo "x"; $_SESSION["late"] = 1; unset($_SESSION["gone"]); $_SESSION["cart"]["b"] = 1; $_SESSION["object"] = new ArrayObject;');
    same(['early' => 1, '{}' => true], $site->object('Set'));
    contains('changed after the head of the response, and so not saved: cart, late, gone, object (', $site->log);
    same(1, substr_count($site->log, 'caddy-session:'));
    $site->run('session_start(); $_SESSION["in time"] = 1; session_write_close(); ini_set("session.use_cookies", "0"); session_cache_limiter(""); echo "x"; session_start(); $_SESSION["late"] = 1; session_regenerate_id(true);');
    contains('not saved: late (', $site->log);
    contains('session_regenerate_id()', $site->log);
    $site->run('echo "x"; session_start(); $_SESSION["late"] = 1;');
    contains('session_start()', $site->log);
    $site->run('session_start(); echo "x"; session_destroy();');
    contains('session_destroy() came after the head', $site->log);
    $site->run('session_start(); $_SESSION["a"] = 1; echo "x"; session_abort();');
    contains('session_abort() came after the head', $site->log);
    $site = new Site();
    $site->ini = ['output_buffering=0'];
    $site->run('ini_set("session.use_cookies", "0"); session_cache_limiter(""); echo "x"; session_start();');
    contains('session_start() came after the head', $site->log);
};

$tests['what cannot be saved'] = function () {
    $site = Site::with([]);
    $site->run('session_start(); $_SESSION["a"] = 1; $_SESSION["function"] = function () {}; echo "x";');
    same(1, $site->object('Set')['a']);
    contains('$_SESSION["function"] is not saved: Serialization of \'Closure\' is not allowed', $site->log);
    same('caught', $site->run('session_start(); $_SESSION["function"] = function () {}; try { session_write_close(); } catch (Exception $e) { echo "caught"; }'));
    // What can't be read does not end the session.
    $site = Site::with(['a' => 1]);
    $site->data['_php']['values'] = ['bad' => base64_encode('a:1:{s:3:"bad";O:8:"ArrayObj'), 'x' => '?'];
    $site->run('session_start(); echo $_SESSION["a"];');
    same([[], null], [$site->control(), $site->object('Set')]);
    contains('key "bad" can\'t be read', $site->log);
};

$tests['session_id, session_create_id, session_encode and session_decode'] = function () {
    $site = Site::with(['a' => 1]);
    same('a:1:{s:1:"a";i:1;}', $site->run('session_start(); echo session_encode(); $new = session_create_id("x-"); echo strpos($new, "x-") === 0 ? "" : $new;'));
    same([[], null, ''], [$site->control(), $site->object('Set'), $site->log]);
    same('2', $site->run('session_start(); session_decode("a:1:{s:1:\"b\";i:2;}"); echo $_SESSION["b"];'));
    same(2, $site->data['b']);
    // Another id than the visitor's is not obeyed.
    same(str_repeat('5', 32), $site->run('session_id(str_repeat("6", 32)); session_start(); echo session_id();'));
    same('', $site->run('ini_set("session.use_strict_mode", "0"); session_id(str_repeat("6", 32)); echo @session_start() ? session_id() : "";'));
    contains('names another session', $site->log);
    same([[], null], [$site->control(), $site->object('Set')]);
    same('0', $site->run('session_start(); echo (int) session_gc();'));
};

$tests['settings of the application'] = function () {
    $site = new Site();
    $site->ini = ['session.auto_start=1'];
    $site->run('$_SESSION["a"] = 1;');
    same([1, [], ''], [$site->data['a'], $site->header('Set-Cookie'), $site->log]);
    $site = Site::with(['a' => 1]);
    $site->run('session_set_save_handler(new SessionHandler); session_start(); $_SESSION["b"] = 1;');
    contains('the session is not in Caddy', $site->log);
    same(null, $site->object('Set'));
    $site->run('ini_set("session.serialize_handler", "php"); echo @session_start() ? 1 : 0;');
    contains('serialize_handler must stay', $site->log);
    $site->run('header("X-Session-Control: revoke-others"); header("Set-Cookie: a=b"); session_start(); $_SESSION["a"] = 2; session_regenerate_id();');
    same([['revoke-others', 'renew'], ['a=b']], [$site->control(), $site->header('Set-Cookie')]);
    $site->run('require $_SERVER["DOCUMENT_ROOT"] ?? "" ?: ini_get("auto_prepend_file"); session_start(); $_SESSION["a"] = 3;');
    same(3, $site->data['a'], 'loaded twice');
};

$tests['another prefix'] = function () {
    $site = new Site();
    $site->environment = ['CADDY_SESSION_PREFIX' => 'Site-', 'HTTP_SITE_ID' => 'i', 'HTTP_SITE_DATA' => '{"a":1}', 'HTTP_X_SESSION_DATA' => '{"a":2}'];
    same('1', $site->run('session_start(); echo $_SESSION["a"]; $_SESSION["b"] = 2;'));
    same(1, count($site->header('Site-Set')));
};

$tests['without Caddy'] = function () {
    $site = new Site();
    $site->environment = [];
    same('1', $site->run('session_start(); $_SESSION["a"] = 1; session_write_close(); session_start(); echo $_SESSION["a"]; setcookie("b", "c");'));
    contains('no caddy-session in front', $site->log);
    same(1, substr_count($site->log, 'caddy-session:'), 'once');
    same([null, []], [$site->object('Set'), $site->control()]);
    $site->environment = ['CADDY_SESSION_REQUIRED' => '1'];
    same('refused', $site->run('echo @session_start() ? "started" : "refused";'));
    $site->environment = ['HTTP_X_SESSION_ID' => 'i'];
    same('refused', $site->run('echo @session_start() ? "started" : "refused";'));
    contains('has no X-Session-Data', $site->log);
};

$tests["PHP's own server"] = function () {
    // A file is run after auto_prepend_file. A router script is not.
    same(['X-Session-Set'], started(''), 'a file');
    same(['Set-Cookie'], started('', true), 'a router script');
    same(['X-Session-Set'], started('require ini_get("auto_prepend_file");', true), 'a router script that requires the adapter');
};

/** Returns which headers PHP's own server has for a session that a script begins. */
function started(string $beginning, bool $router = false): array
{
    $root = tempnam(sys_get_temp_dir(), 'caddy-session');
    unlink($root);
    mkdir($root);
    file_put_contents($root . '/index.php', '<?php ' . $beginning . ' session_start(); $_SESSION["a"] = 1;');
    $command = [PHP_BINARY, '-n', '-d', 'auto_prepend_file=' . __DIR__ . '/session.php', '-d', 'session.save_path=' . $root,
        '-d', 'output_buffering=4096', '-S', '127.0.0.1:0', '-t', $root];
    $server = proc_open($router ? array_merge($command, [$root . '/index.php']) : $command, [1 => ['file', '/dev/null', 'w'], 2 => ['pipe', 'w']], $pipes);
    try {
        do {
            $line = fgets($pipes[2]);
            same(true, $line !== false, 'it starts');
        } while (!preg_match('~\((http://\S+)\) started~', $line, $m));
        $context = stream_context_create(['http' => ['header' => 'X-Session-New-Id: nnnnnnnnnnnnnnnnnnnnnn']]);
        file_get_contents($m[1], false, $context);
        return array_values(array_intersect(['X-Session-Set', 'Set-Cookie'], array_map(function ($line) {
            return explode(':', $line)[0];
        }, $http_response_header)));
    } finally {
        proc_terminate($server);
        proc_close($server);
        array_map('unlink', glob($root . '/*'));
        rmdir($root);
    }
}

$failed = 0;
foreach ($tests as $name => $test) {
    if ($argc > 1 && !in_array($name, array_slice($argv, 1), true)) {
        continue;
    }
    try {
        $test();
        echo "ok      $name\n";
    } catch (Throwable $e) {
        $failed++;
        echo "FAILED  $name\n", $e->getMessage(), "\n", $e->getTraceAsString(), "\n";
    }
}
exit($failed ? 1 : 0);
