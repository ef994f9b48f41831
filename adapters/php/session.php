<?php
/**
 * Keeps PHP's sessions in the session that Caddy keeps (caddy-session).
 *
 * Name this file in auto_prepend_file, or require it before session_start().
 * Then session_start(), $_SESSION and the other functions of sessions work as
 * ever: see docs/adapters/php.md for what is the same, better and different.
 *
 * Written in PHP 7.4.
 */

namespace CaddySession;

if (class_exists(Handler::class, false)) {
    return;
}

/**
 * The save handler. It reads the session from the request's headers, and says
 * with the response's headers what has changed.
 *
 * Data that JSON can say is in the keys of the session's data, for all
 * languages. All else is in one more key, KEY, which scripts do not see:
 *
 *     id      what session_id() returns: a secret, as the session's own id is none
 *     values  what JSON can't say, serialised: {KEY: BASE64}. What is under ""
 *             has references, also from one key to another
 *     order   the order of keys where they are not sorted
 */
final class Handler implements \SessionHandlerInterface, \SessionIdInterface, \SessionUpdateTimestampHandlerInterface
{
    private const KEY = '_php';

    // What Caddy takes: a deeper array, its order included, has no room in the
    // 32 levels.
    private const LEVELS = 13;
    private const KEYS = 1024;
    private const KEY_BYTES = 256;

    /** @var string the beginning of the names of headers */
    private $prefix;
    /** @var bool whether Caddy is in front and has, or may begin, a session */
    private $proxied;
    /** @var bool whether the request came with a session */
    private $exists;
    /** @var bool whether session_start() fails without Caddy */
    private $required;
    /** @var bool whether session_start() alone begins no session */
    private $lazy;
    /** @var string the data that came, a JSON object */
    private $data = '{}';
    /** @var string|null why there is no data though there is a session */
    private $fault;

    /** @var bool whether the data has been parsed */
    private $loaded = false;
    /** @var bool whether PHP has the session open */
    private $open = false;
    /** @var string the name of the cookie that PHP is not to send */
    private $name = '';
    /** @var string|null what session_id() returns; null as long as there is none */
    private $id;
    /** @var string|null the id that create_sid() has made and read() not yet seen */
    private $candidate;
    /** @var string $_SESSION as it is saved, serialised */
    private $current = 'a:0:{}';
    /** @var array{plain: array, values: array, order: array, names: array} the same as it is sent */
    private $saved = self::NOTHING;
    private const NOTHING = ['plain' => [], 'values' => [], 'order' => [], 'names' => []];

    /** @var bool */
    private $changed = false;
    /** @var bool whether the id is new to the browser */
    private $fresh = false;
    /** @var bool */
    private $renewed = false;
    /** @var bool */
    private $destroyed = false;
    /** @var bool whether a session was begun after session_destroy() */
    private $cleared = false;
    /** @var int what the application says of the cookie's Max-Age, in seconds; 0 is nothing */
    private $lifetime = 0;
    /** @var string[] the keys that have changed since the head of the response */
    private $late = [];
    /** @var bool whether changes went out that PHP has not asked to save yet */
    private $ahead = false;
    /** @var array<string, true> */
    private $complaints = [];
    /** @var string[] the header lines that were set here */
    private $lines = [];
    /** @var array what they say that the session is */
    private $said = self::NOTHING;

    /** @var string|null the URL of the session API, a secret; null without one */
    private $api;
    /** @var bool whether session_start() waits for the lock of the session */
    private $locks;
    /** @var bool whether the request has it */
    private $locked = false;
    /** @var bool whether the data is to be fetched */
    private $remote = false;
    /** @var bool whether the head of the response, which is out, said something */
    private $told = false;

    private function __construct()
    {
        $this->prefix = $_SERVER['CADDY_SESSION_PREFIX'] ?? 'X-Session-';
        $this->required = filter_var($_SERVER['CADDY_SESSION_REQUIRED'] ?? '', FILTER_VALIDATE_BOOLEAN);
        $this->lazy = filter_var($_SERVER['CADDY_SESSION_LAZY'] ?? '', FILTER_VALIDATE_BOOLEAN);
        $this->exists = $this->header('Id') !== null;
        $this->proxied = $this->exists || $this->header('New-Id') !== null;
        $this->api = $this->header('Api');
        $this->locks = $this->api !== null && filter_var($_SERVER['CADDY_SESSION_LOCK'] ?? '', FILTER_VALIDATE_BOOLEAN);
        if ($this->exists) {
            $data = $this->header('Data');
            $this->data = $data ?? '{}';
            $this->remote = $data === null && $this->api !== null;
            $this->fault = $data === null && $this->api === null ? 'the request has no ' . $this->prefix . 'Data: remove the forward lines, or add data to request_headers' : null;
        }
    }

    private function header(string $name): ?string
    {
        return $_SERVER['HTTP_' . strtoupper(strtr($this->prefix . $name, '-', '_'))] ?? null;
    }

    /** Makes this the handler of the request's sessions. */
    public static function install(): void
    {
        $started = session_status() === PHP_SESSION_ACTIVE; // session.auto_start
        if ($started) {
            session_abort();
        }
        $settings = [
            'use_cookies' => '1', // else session_set_cookie_params() warns; the cookie does not go out
            'use_only_cookies' => '1',
            'use_trans_sid' => '0',
            'use_strict_mode' => '1',
            'serialize_handler' => 'php_serialize', // which takes all keys
            'gc_probability' => '0',
        ];
        foreach ($settings as $name => $value) {
            ini_set('session.' . $name, $value);
        }
        $handler = new self();
        $handler->showCookie();
        session_set_save_handler($handler, false);
        header_register_callback([new Head($handler), 'send']);
        if ($started) {
            session_start();
        }
    }

    /**
     * Makes isset($_COOKIE[session_name()]) say whether there is a session, for
     * applications that ask before they start one. No data is parsed for that:
     * text in JSON has no bare quotes, and a wrong id would be replaced.
     */
    private function showCookie(): void
    {
        if ($this->exists) {
            preg_match('/"' . self::KEY . '":\{"id":"([A-Za-z0-9,-]{22,128})"/', $this->data, $found);
            $_COOKIE[session_name()] = $found[1] ?? $this->header('Id');
        } else {
            unset($_COOKIE[session_name()]);
        }
    }

    public function open($path, $name): bool
    {
        if (!$this->proxied) {
            $this->complain('there is no caddy-session in front (' . $this->prefix . 'Id, ' . $this->prefix . 'New-Id), or its request_headers have no new_id'
                . ($this->required ? '' : ': the session is empty and is not kept'));
            if ($this->required) {
                return false;
            }
        }
        if ($this->fault === null && ini_get('session.serialize_handler') !== 'php_serialize') {
            $this->complain('session.serialize_handler must stay php_serialize');
            return false;
        }
        if ($this->fault === null && !$this->fetch()) {
            return false;
        }
        if (!$this->loaded) {
            $this->load();
        }
        if ($this->fault !== null) {
            $this->complain($this->fault);
            return false;
        }
        $this->name = (string) $name;
        return $this->open = true;
    }

    public function create_sid(): string
    {
        $caller = self::caller();
        $id = bin2hex(random_bytes(16));
        if ($caller === 'session_create_id') {
            return $id;
        }
        if ($caller === 'session_regenerate_id') {
            $this->renewed = true;
        } elseif ($this->destroyed) {
            $this->destroyed = false;
            $this->cleared = true;
        } elseif ($this->id !== null) {
            return $this->id;
        }
        if (headers_sent()) {
            $this->complain($caller . '() came after the head of the response: ' . ($this->api === null ? 'the new session_id() is not kept' : 'the cookie stays as it is'));
            $this->renewed = $this->renewed && $this->api === null;
        }
        $this->fresh = $this->changed = true;
        return $this->candidate = $id;
    }

    public function validateId($id): bool
    {
        return $id === $this->id;
    }

    #[\ReturnTypeWillChange]
    public function read($id)
    {
        if ($id === $this->candidate) {
            $this->id = $id;
            $this->candidate = null;
        }
        if ($id !== $this->id) {
            $this->complain('session_id() names another session than the visitor\'s, and session.use_strict_mode is off');
            return false;
        }
        if ($this->exists) {
            $_COOKIE[$this->name] = $id;
        }
        if (!headers_sent()) {
            self::replace(array_keys($this->cookies()), []); // what PHP has just set
        }
        return $this->current;
    }

    public function write($id, $data): bool
    {
        return $this->save(self::caller());
    }

    public function updateTimestamp($id, $data): bool
    {
        return $this->save(self::caller());
    }

    /** Saves: with the head of the response, or at once if the application asks for that, the head is out or others wait. */
    private function save(string $caller): bool
    {
        $this->ahead = false;
        $this->keep();
        if ($this->api !== null && headers_sent()) {
            $this->commitLate();
        } else {
            $this->send($this->api !== null && ($this->locked || $caller === 'session_write_close' || $caller === 'session_commit'));
        }
        return true;
    }

    /** Ends the session, unless PHP only wants another id or could not read it. */
    public function destroy($id): bool
    {
        $this->ahead = false;
        if (self::caller() !== 'session_destroy') {
            return true;
        }
        if (headers_sent()) {
            try {
                if ($this->api === null) {
                    throw new \RuntimeException('the session goes on');
                }
                $this->past();
                $this->ask('DELETE', '');
                $this->exists = $this->locked = false;
                $this->data = '{}';
            } catch (\RuntimeException $e) {
                $this->complain('session_destroy() came after the head of the response: ' . $e->getMessage());
            }
        }
        $this->id = null;
        $this->current = 'a:0:{}';
        $this->saved = self::NOTHING;
        $this->cleared = $this->renewed = $this->fresh = false;
        $this->destroyed = $this->changed = true;
        return true;
    }

    public function close(): bool
    {
        if ($this->ahead) {
            $this->ahead = false;
            $this->complain('session_abort() came after the head of the response: what had changed in $_SESSION is saved');
        }
        $this->open = false;
        if ($this->locked) {
            $this->locked = false;
            try {
                $this->past();
                $this->ask('DELETE', '/lock');
            } catch (\RuntimeException $e) {
                $this->complain('the lock is not given back: ' . $e->getMessage());
            }
        }
        return true;
    }

    public function gc($lifetime): int
    {
        return 0; // Caddy ends sessions
    }

    /** Sets the header lines for what has changed until now, as long as that can be, or has the API save it $now. */
    public function send(bool $now = false): void
    {
        if (headers_sent()) {
            return;
        }
        if (!$this->loaded) {
            if (isset($_SESSION)) {
                $this->complain('the session is not in Caddy: session_set_save_handler() or session.save_handler gave it to another save handler');
            }
            return;
        }
        if ($this->open) {
            $this->ahead = $this->keep() || $this->ahead;
        }
        if (!$this->proxied) {
            return;
        }
        if ($this->fresh && ini_get('session.cookie_lifetime') > 0) {
            $this->lifetime = (int) ini_get('session.cookie_lifetime');
        }
        // The application may have made PHP's cookie last longer.
        foreach ($this->cookies() as $line => $maxAge) {
            $drop[] = $line;
            $this->lifetime = $maxAge ?: $this->lifetime;
        }
        $lines = $this->changed || $this->lifetime > 0 ? $this->changes() : [];
        if ($now && $lines) {
            try {
                $this->commit($lines);
                $lines = [];
            } catch (\RuntimeException $e) {
                $this->complain('not saved yet, but with the head of the response: ' . $e->getMessage());
            }
        }
        self::replace(array_merge($this->lines, $drop ?? []), $lines);
        $this->lines = $lines;
        $this->said = $this->saved;
    }

    /** Makes the data those of the session that there is, and takes its lock, if it is to. Reports whether it could. */
    private function fetch(): bool
    {
        $lock = $this->locks && $this->exists && !$this->locked;
        if (!$this->remote && !$lock) {
            return true;
        }
        try {
            $this->past();
            if ($lock) {
                $this->ask('POST', '/lock?wait=20s');
                $this->locked = true;
            }
            $answer = $this->ask('GET', '');
            $this->data = substr(strstr($answer, ',"data":'), 8, -1);
            $this->remote = $this->loaded = false;
        } catch (\RuntimeException $e) {
            $this->complain('session_start(): ' . $e->getMessage());
            return false;
        }
        return true;
    }

    /** Goes on from what the head of the response has said, if that is out. */
    private function past(): void
    {
        if (!headers_sent() || !$this->lines) {
            return;
        }
        flush(); // for Caddy to have it
        $this->told = true;
        $ended = $this->lines === [$this->prefix . 'Control: destroy'];
        $this->became($ended ? null : $this->said);
    }

    /** Makes this the session that Caddy has; null for none. */
    private function became(?array $saved): void
    {
        $this->lines = [];
        $this->lifetime = 0;
        $this->cleared = $this->renewed = $this->fresh = $this->changed = false;
        $this->exists = $saved !== null;
        $ignored = false;
        $this->data = $saved === null ? '{}' : self::json((object) $this->all($saved), json_decode($this->data), $ignored);
    }

    /** Has the API do what header lines say. */
    private function commit(array $lines): void
    {
        $begin = strlen($this->prefix);
        $asks = [];
        foreach ($lines as $line) {
            [$name, $value] = explode(': ', substr($line, $begin), 2);
            if ($name !== 'Control') {
                $asks[] = $name === 'Put' ? ['PUT', '', $value] : ['PATCH', '', $value];
                continue;
            }
            foreach (explode(', ', $value) as $control) {
                if ($control === 'destroy') {
                    $asks[] = ['DELETE', '', null];
                } elseif (strpos($control, 'max-age=') === 0) {
                    $last = ['POST', '/max-age?seconds=' . substr($control, 8), null];
                } else {
                    $asks[] = ['POST', '/' . $control, null];
                }
            }
        }
        if (isset($last)) {
            $asks[] = $last;
        }
        foreach ($asks as [$method, $path, $body]) {
            $this->ask($method, $path, $body);
        }
        $this->became($this->destroyed ? null : $this->saved);
    }

    /** Saves what has changed since the head of the response. */
    private function commitLate(): void
    {
        if (!$this->changed) {
            return;
        }
        $this->past();
        $keys = $this->late;
        $this->late = [];
        $this->lifetime = 0; // which takes another cookie
        $lines = $this->changes();
        if (!$lines) {
            return;
        }
        try {
            $this->commit($lines);
        } catch (\RuntimeException $e) {
            $this->complain('changed after the head of the response, and so not saved: ' . implode(', ', $keys) . ': ' . $e->getMessage());
        }
    }

    /**
     * Sends a request to the session API and returns the body of its answer. What
     * is thrown does not have the URL in it.
     */
    private function ask(string $method, string $path, ?string $body = null): string
    {
        if (!preg_match('~^http(s|\+unix)?://([^/]+)(/[\w-]+)$~D', $this->api, $found)) {
            throw new \RuntimeException($this->prefix . 'Api is no URL of a session API');
        }
        [, $kind, $host, $base] = $found;
        $address = ['' => 'tcp://' . $host, 's' => 'ssl://' . $host, '+unix' => 'unix://' . rawurldecode($host)][$kind];
        $stream = @stream_socket_client($address, $code, $why, 5);
        if (!$stream) {
            throw new \RuntimeException('the session API does not answer: ' . $why);
        }
        stream_set_timeout($stream, 30);
        $begun = $this->told ? (strpos($path, '?') === false ? '?begun' : '&begun') : '';
        // Of HTTP/1.0, an answer ends with the connection.
        $request = "$method $base$path$begun HTTP/1.0\r\nHost: " . ($kind === '+unix' ? 'localhost' : $host) . "\r\n"
            . ($body === null ? '' : "Content-Type: application/json\r\nContent-Length: " . strlen($body) . "\r\n") . "\r\n" . $body;
        while ($request !== '' && ($sent = @fwrite($stream, $request))) {
            $request = (string) substr($request, $sent);
        }
        [$head, $answer] = explode("\r\n\r\n", (string) stream_get_contents($stream), 2) + [1 => ''];
        fclose($stream);
        $status = (int) (explode(' ', $head, 3)[1] ?? 0);
        if ($status === 0) {
            throw new \RuntimeException('the session API does not answer: no answer came');
        }
        if ($status >= 300) {
            $error = json_decode($answer, true)['error'] ?? '';
            throw new \RuntimeException("the session API answers $method " . ($path ?: '/') . " with $status: $error");
        }
        return $answer;
    }

    /** @return array<string, int> the lines that set PHP's cookie, with the Max-Age of those that have this id */
    private function cookies(): array
    {
        $cookies = [];
        foreach (headers_list() as $line) {
            if (preg_match('/^Set-Cookie:\s*' . preg_quote($this->name, '/') . '=([^;]*)(?:.*;\s*Max-Age=(\d+))?/i', $line, $found)) {
                $cookies[$line] = $found[1] === $this->id ? (int) ($found[2] ?? 0) : 0;
            }
        }
        return $cookies;
    }

    /**
     * Returns the header lines for a session whose data was $before, a JSON
     * object, and is $after now.
     *
     * @return string[]
     */
    public static function difference(string $before, array $after, string $prefix = 'X-Session-'): array
    {
        // Kinds are told apart, but a key that begins with NUL can be in arrays only.
        $old = (array) (json_decode($before) ?? json_decode($before, true));
        $set = $put = [];
        foreach ($after as $key => $value) {
            $nulls = $value === null;
            if (!array_key_exists($key, $old)) {
                $text = self::json($value, null, $nulls);
            } elseif (($text = self::patch($value, $old[$key], $nulls)) === null) {
                continue;
            } elseif ($nulls) {
                $text = self::json($value, $old[$key], $nulls);
            }
            if ($nulls) {
                $put[] = self::name($key) . $text;
            } else {
                $set[] = self::name($key) . $text;
            }
        }
        foreach (array_diff_key($old, $after) as $key => $value) {
            $set[] = self::name($key) . 'null';
        }
        $lines = [];
        foreach (['Put' => $put, 'Set' => $set] as $name => $members) {
            if ($members) {
                $lines[] = $prefix . $name . ': {' . implode(',', $members) . '}';
            }
        }
        return $lines;
    }

    /** @return string[] */
    private function changes(): array
    {
        if ($this->destroyed) {
            return $this->exists ? [$this->prefix . 'Control: destroy'] : [];
        }
        if ($this->lazy && !$this->exists && !$this->saved['plain'] && !$this->saved['values']) {
            return [];
        }
        $control = [];
        if ($this->cleared && $this->exists) {
            $control[] = 'clear';
        } elseif ($this->renewed && $this->exists) {
            $control[] = 'renew';
        }
        if ($this->lifetime > 0) {
            $control[] = 'max-age=' . $this->lifetime;
        }
        $lines = self::difference($this->cleared ? '{}' : $this->data, $this->all($this->saved), $this->prefix);
        if ($control) {
            array_unshift($lines, $this->prefix . 'Control: ' . implode(', ', $control));
        }
        return $lines;
    }

    /** Returns the whole data of a session, KEY included. */
    private function all(array $saved): array
    {
        $private = ['id' => $this->id];
        foreach (['values', 'order'] as $part) {
            if ($saved[$part]) {
                $private[$part] = (object) $saved[$part];
            }
        }
        return $saved['plain'] + [self::KEY => (object) $private];
    }

    /** Takes some header lines from the response and adds others. */
    private static function replace(array $drop, array $add): void
    {
        if ($drop === $add && !array_diff($add, headers_list())) {
            return;
        }
        $names = [];
        foreach ($drop as $line) {
            $names[strtolower(strstr($line, ':', true))] = true;
        }
        $keep = [];
        foreach (headers_list() as $line) {
            if (isset($names[strtolower(strstr($line, ':', true))]) && !in_array($line, $drop, true)) {
                $keep[] = $line;
            }
        }
        foreach ($names as $name => $_) {
            header_remove($name);
        }
        foreach (array_merge($keep, $add) as $line) {
            header($line, false);
        }
    }

    /** Parses the data that came with the request. */
    private function load(): void
    {
        $this->loaded = true;
        $data = json_decode($this->data, true);
        if (!is_array($data)) {
            $this->fault = $this->prefix . 'Data is not a JSON object';
            return;
        }
        $private = $data[self::KEY] ?? [];
        unset($data[self::KEY]);
        $id = $private['id'] ?? null;
        if (is_string($id) && preg_match('/^[A-Za-z0-9,-]{22,128}$/D', $id)) {
            $this->id = $id;
        }
        $values = is_array($private['values'] ?? null) ? $private['values'] : [];
        $order = is_array($private['order'] ?? null) ? $private['order'] : [];
        foreach ($order as $key => $node) {
            if (isset($data[$key])) {
                $data[$key] = self::sorted($data[$key], $node);
            }
        }
        $this->saved = ['plain' => $data, 'values' => $values, 'order' => $order, 'names' => []];

        // PHP makes objects of the text once. References count from its
        // beginning, so what has any comes first; a key that another language
        // has set since wins by being last.
        ksort($values, SORT_STRING);
        $count = 0;
        $members = '';
        foreach ($values as $name => $value) {
            $text = is_string($value) ? base64_decode($value, true) : false;
            if ($text === false || !preg_match('/^a:(\d+):\{(.*)\}$/sD', $text, $found)) {
                $this->complain('what is serialised in key "' . $name . '" can\'t be read');
                continue;
            }
            $count += (int) $found[1];
            $members .= $found[2];
        }
        preg_match('/^a:(\d+):\{(.*)\}$/sD', serialize($data), $found);
        $this->current = 'a:' . ($count + (int) $found[1]) . ':{' . $members . $found[2] . '}';
    }

    /** Makes $_SESSION what is saved, and reports whether that is a change. */
    private function keep(): bool
    {
        if (!isset($_SESSION) || !is_array($_SESSION)) {
            return false; // unset($_SESSION): PHP saves nothing either
        }
        $session = $_SESSION;
        try {
            $text = serialize($session);
        } catch (\Throwable $e) {
            foreach ($_SESSION as $key => $value) {
                try {
                    serialize($value);
                } catch (\Throwable $e) {
                    $this->complain('$_SESSION["' . $key . '"] is not saved: ' . $e->getMessage());
                    unset($session[$key]);
                }
            }
            $text = serialize($session);
        }
        if ($text === $this->current) {
            return false;
        }
        $saved = self::encode($session, $text);
        if (headers_sent()) {
            $this->late = array_merge($this->late, $this->differing($saved));
            if ($this->api === null) {
                $this->complain('changed after the head of the response, and so not saved: ' . implode(', ', $this->late));
                $this->late = [];
            }
        }
        $this->current = $text;
        $this->saved = $saved;
        return $this->changed = true;
    }

    /** @return string[] the keys of $_SESSION in which $saved differs from what is saved */
    private function differing(array $saved): array
    {
        $keys = [];
        foreach (['plain', 'values'] as $part) {
            foreach ($saved[$part] + $this->saved[$part] as $key => $_) {
                $new = array_key_exists($key, $saved[$part]) ? [$saved[$part][$key]] : [];
                $old = array_key_exists($key, $this->saved[$part]) ? [$this->saved[$part][$key]] : [];
                if ($new !== $old) {
                    $names = $part === 'plain' ? [$key] : $saved['names'][$key] ?? $this->saved['names'][$key] ?? [$key];
                    array_push($keys, ...$names);
                }
            }
        }
        return array_unique($keys);
    }

    /** Tells what JSON can say from what it can't. $text is the session serialised. */
    private static function encode(array $session, string $text): array
    {
        $plain = $values = $order = $names = $seen = $other = [];
        $shared = self::references($text) > 0;
        foreach ($session as $key => $value) {
            $links = [];
            if ((string) $key === self::KEY || !self::isName($key) || !self::isPlain($value, self::LEVELS, $shared, $links)) {
                $other[$key] = true;
            }
            foreach (array_merge($links, $shared ? self::link($session, $key) : []) as $link) {
                $seen[$link][] = $key;
            }
        }
        foreach ($seen as $keys) {
            if (count($keys) > 1) {
                $other += array_fill_keys($keys, true);
            }
        }
        foreach (array_diff_key($session, $other) as $key => $value) {
            $plain[$key] = $value;
            if (is_array($value) && ($node = self::order($value)) !== null) {
                $order[$key] = $node;
            }
        }
        $other = array_intersect_key($session, $other);
        if (!$other) {
            return ['plain' => $plain, 'values' => [], 'order' => $order, 'names' => []];
        }

        // What has references is in one text; keys that have none are each in
        // one of their own, so that parallel requests do not undo each other.
        $alone = $together = [];
        $within = 0;
        foreach ($other as $key => $value) {
            $member = serialize([$key => $value]);
            $references = self::references($member);
            $within += $references;
            if ($references > 0 || $key === '') {
                $together[$key] = $value;
            } else {
                $alone[$key] = $member;
            }
        }
        if (self::references(serialize($other)) !== $within) {
            $together = $other;
            $alone = [];
        }
        foreach ($alone as $key => $member) {
            $name = self::isName($key) ? $key : md5($key);
            $values[$name] = base64_encode($member);
            $names[$name] = [$key];
        }
        if ($together) {
            $values[''] = base64_encode(serialize($together));
            $names[''] = array_keys($together);
        }
        return ['plain' => $plain, 'values' => $values, 'order' => $order, 'names' => $names];
    }

    /** Returns how many references a serialised value has, or more. */
    private static function references(string $text): int
    {
        return preg_match_all('/[;{}][rR]:\d+;/', $text);
    }

    /** @return string[] the reference that an element of an array is, if it is one */
    private static function link(array $array, $key): array
    {
        $reference = \ReflectionReference::fromArrayElement($array, $key);
        return $reference === null ? [] : [$reference->getId()];
    }

    private static function isName($key): bool
    {
        return strlen($key) <= self::KEY_BYTES && preg_match('//u', $key) === 1;
    }

    /** Reports whether JSON can say a value, and adds the references in it if there are any. */
    private static function isPlain($value, int $levels, bool $shared, array &$links): bool
    {
        if (is_string($value)) {
            return preg_match('//u', $value) === 1;
        }
        if (!is_array($value)) {
            return $value === null || is_bool($value) || is_int($value) || is_float($value) && is_finite($value);
        }
        if ($levels === 0 || count($value) > self::KEYS && !self::isList($value)) {
            return false;
        }
        foreach ($value as $key => $member) {
            if (!self::isName($key) || !self::isPlain($member, $levels - 1, $shared, $links)) {
                return false;
            }
            if ($shared) {
                $links = array_merge($links, self::link($value, $key));
            }
        }
        return true;
    }

    /**
     * Returns the keys of an array in their order, each with what this returns
     * for its value, [KEY, ...] or [[KEY, [...]], ...]; null if all are sorted.
     */
    private static function order(array $array): ?array
    {
        $node = [];
        $needed = false;
        $last = null;
        $list = self::isList($array);
        foreach ($array as $key => $value) {
            $key = (string) $key;
            $below = is_array($value) ? self::order($value) : null;
            $needed = $needed || $below !== null || !$list && $last !== null && strcmp($last, $key) > 0;
            $node[] = $below === null ? $key : [$key, $below];
            $last = $key;
        }
        return $needed ? $node : null;
    }

    /** Gives keys the order that order() has returned. Others follow. */
    private static function sorted($value, $node)
    {
        if (!is_array($value) || !is_array($node)) {
            return $value;
        }
        if (self::isList($value)) {
            $node = array_filter($node, 'is_array'); // a list has an order of its own
        }
        $sorted = [];
        foreach ($node as $entry) {
            $key = is_array($entry) ? $entry[0] ?? null : $entry;
            if (is_string($key) && array_key_exists($key, $value)) {
                $sorted[$key] = is_array($entry) ? self::sorted($value[$key], $entry[1] ?? null) : $value[$key];
            }
        }
        return self::isList($value) ? array_replace($value, $sorted) : $sorted + $value;
    }

    private static function isList(array $array): bool
    {
        $next = 0;
        foreach ($array as $key => $_) {
            if ($key !== $next++) {
                return false;
            }
        }
        return true;
    }

    /**
     * Reports whether a value is an object in JSON. For PHP, [] and {} are the
     * same, and so are ["a"] and {"0":"a"}: such a value stays what it was.
     */
    private static function isObject($value, $before): bool
    {
        if (!is_array($value) || !self::isList($value)) {
            return is_array($value) || $value instanceof \stdClass;
        }
        if (!$before instanceof \stdClass) {
            return false;
        }
        return $value === [] || !array_filter(array_keys((array) $before), 'is_string');
    }

    private static function name($key): string
    {
        $ignored = false;
        return self::json((string) $key, null, $ignored) . ':';
    }

    /**
     * Returns the JSON text of a value that was $before, and sets $nulls if an
     * object in it has a member that is null.
     */
    private static function json($value, $before, bool &$nulls): string
    {
        if (!is_array($value) && !$value instanceof \stdClass) {
            $text = json_encode($value, JSON_UNESCAPED_SLASHES | JSON_PRESERVE_ZERO_FRACTION | JSON_THROW_ON_ERROR);
            return str_replace("\x7f", '\u007f', $text);
        }
        $old = is_array($before) || $before instanceof \stdClass ? (array) $before : [];
        $object = self::isObject($value, $before);
        $ignored = false;
        $members = [];
        foreach ((array) $value as $key => $member) {
            if ($object) {
                $nulls = $nulls || $member === null;
                $members[] = self::name($key) . self::json($member, $old[$key] ?? null, $nulls);
            } else {
                $members[] = self::json($member, $old[$key] ?? null, $ignored);
            }
        }
        return $object ? '{' . implode(',', $members) . '}' : '[' . implode(',', $members) . ']';
    }

    /**
     * Returns the merge patch (RFC 7396) that makes $value of $before, null if
     * they are equal. $nulls is set if a patch can't say it.
     */
    private static function patch($value, $before, bool &$nulls): ?string
    {
        if (!$before instanceof \stdClass || !self::isObject($value, $before)) {
            return self::isSame($value, $before) ? null : self::json($value, $before, $nulls);
        }
        $value = (array) $value;
        $before = (array) $before;
        $members = [];
        foreach ($value as $key => $member) {
            $absent = !array_key_exists($key, $before);
            $text = $absent ? self::json($member, null, $nulls) : self::patch($member, $before[$key], $nulls);
            if ($text !== null) {
                $nulls = $nulls || $member === null;
                $members[] = self::name($key) . $text;
            }
        }
        foreach (array_diff_key($before, $value) as $key => $_) {
            $members[] = self::name($key) . 'null';
        }
        return $members ? '{' . implode(',', $members) . '}' : null;
    }

    private static function isSame($value, $before): bool
    {
        if (is_array($value) && is_array($before)) {
            if (count($value) !== count($before)) {
                return false;
            }
            $ignored = false;
            foreach ($value as $key => $member) {
                if (!array_key_exists($key, $before) || self::patch($member, $before[$key], $ignored) !== null) {
                    return false;
                }
            }
            return true;
        }
        if ((is_int($value) || is_float($value)) && (is_int($before) || is_float($before))) {
            return $value == $before;
        }
        return $value === $before;
    }

    /** Returns the function of PHP that has called a method of this handler. */
    private static function caller(): string
    {
        return debug_backtrace(DEBUG_BACKTRACE_IGNORE_ARGS, 3)[2]['function'] ?? '';
    }

    /** Logs what is wrong, once. */
    private function complain(string $what): void
    {
        if (isset($this->complaints[$what])) {
            return;
        }
        $this->complaints[$what] = true;
        error_log('caddy-session: ' . $what . ' (' . ($_SERVER['SCRIPT_FILENAME'] ?? '') . ')');
    }
}

/**
 * The callback that PHP runs before it sends the head of the response. There
 * can be one only. If the application registers its own, PHP drops this one,
 * and a buffer that keeps nothing back takes its place.
 */
final class Head
{
    /** @var Handler */
    private $handler;

    public function __construct(Handler $handler)
    {
        $this->handler = $handler;
    }

    public function send(): void
    {
        $this->handler->send();
    }

    public function __destruct()
    {
        if ((debug_backtrace(DEBUG_BACKTRACE_IGNORE_ARGS, 2)[1]['function'] ?? '') !== 'header_register_callback') {
            return; // the script has ended; the callback is still to come
        }
        $handler = $this->handler;
        ob_start(static function (string $output) use ($handler): string {
            $handler->send();
            return $output;
        }, 1);
    }
}

if (PHP_SAPI !== 'cli') { // where there are no requests
    Handler::install();
}
