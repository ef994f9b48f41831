#!/usr/bin/env bash
#
# Builds Caddy with this plugin, runs it, and tests the plugin.
#
#   ./xcaddy.sh [build]             build ./caddy
#   ./xcaddy.sh run [ARGUMENT...]   run the example on http://localhost:8080
#   ./xcaddy.sh test [-apps] [ARGUMENT...]
#                                   run the tests, with these arguments for go test;
#                                   -apps: with more applications
#   ./xcaddy.sh help

set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
module=github.com/caddy-session/caddy-session
caddy=github.com/caddyserver/caddy/v2

say() { printf 'xcaddy.sh: %s\n' "$*" >&2; }

die() {
	say "$*"
	exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# from_go_mod NAME prints the version that go.mod gives for "go" or a module.
from_go_mod() { awk -v name="$1" '$1 == name { print $2; exit }' "$root/go.mod"; }

# at_least VERSION WANTED compares versions such as 1.26.1 and 1.26.0.
at_least() {
	local major minor patch want_major want_minor want_patch
	IFS=. read -r major minor patch <<<"${1%%[!0-9.]*}"
	IFS=. read -r want_major want_minor want_patch <<<"$2"
	major=${major:-0} minor=${minor:-0} patch=${patch:-0}
	want_minor=${want_minor:-0} want_patch=${want_patch:-0}
	((major != want_major)) && { ((major > want_major)); return; }
	((minor != want_minor)) && { ((minor > want_minor)); return; }
	((patch >= want_patch))
}

need_go() {
	local wanted version
	wanted=$(from_go_mod go)
	have go || die "Go is not installed: this needs Go $wanted or later, see https://go.dev/dl/"
	# Asked in the repository, Go 1.21 and later fetches the version that
	# go.mod asks for, if it is allowed to.
	version=$(cd "$root" && go env GOVERSION) ||
		die "this needs Go $wanted or later, see https://go.dev/dl/"
	at_least "${version#go}" "$wanted" ||
		die "this needs Go $wanted or later, but here is ${version:-an older one}: see https://go.dev/dl/"
}

build() {
	need_go
	local version
	version=$(from_go_mod "$caddy")
	if have xcaddy; then
		say "building Caddy $version with xcaddy"
		if (cd "$root" && xcaddy build "$version" --with "$module=." --output "$root/caddy"); then
			say "built $root/caddy"
			return
		fi
		say "xcaddy failed, as it does where the versions that it asks for can't be had"
	fi
	# From go.mod and go.sum, with the versions that the tests ran with: nothing
	# has to be resolved.
	say "building Caddy $version with go; the first time takes minutes"
	(cd "$root" && GOWORK=off CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w' \
		-tags nobadger,nomysql,nopgx -o "$root/caddy" ./cmd/caddy)
	say "built $root/caddy"
}

# up_to_date reports whether ./caddy is newer than everything it is made of.
up_to_date() {
	[[ -x $root/caddy ]] || return
	[[ -z $(find "$root" \( -name .git -o -name .data -o -path "$root/bench" -o -path "$root/examples" \) -prune -o \
		\( -name '*.go' ! -name '*_test.go' -o -name go.mod \) -newer "$root/caddy" -print) ]]
}

run() {
	up_to_date || build
	# The data and the configuration of the Caddy that you may have already
	# are none of our business.
	export XDG_DATA_HOME=${XDG_DATA_HOME:-$root/.data}
	export XDG_CONFIG_HOME=${XDG_CONFIG_HOME:-$root/.data}
	exec "$root/caddy" run --config "$root/Caddyfile.example" "$@"
}

# need_for_tests installs what the tests need and is not there: CONTRIBUTING.md says
# what that is for. With APPS=1 they need more.
need_for_tests() {
	local compiler missing=() packages=()
	compiler=$(cd "$root" && go env CC)
	have "${compiler%% *}" || { missing+=("a C compiler (gcc)") && packages+=(gcc libc6-dev); }
	have redis-server || { missing+=(redis-server) && packages+=(redis-server); }
	[[ -n $(compgen -G "/usr/lib/postgresql/*/bin/postgres") ]] || have postgres || { missing+=(PostgreSQL) && packages+=(postgresql); }
	have php-cgi || { missing+=(php-cgi) && packages+=(php-cgi); }
	have php || { missing+=(php-cli) && packages+=(php-cli); }
	{ [[ -e /usr/share/adminer/adminer.php ]] && php -m | grep -qi sqlite3; } || { missing+=(adminer) && packages+=(adminer php-sqlite3); }
	have prometheus || { missing+=(prometheus) && packages+=(prometheus); }
	[[ -e /usr/share/dokuwiki/doku.php ]] || { missing+=(dokuwiki) && packages+=(dokuwiki); }
	have chromium || have chromium-browser || have google-chrome || { missing+=(chromium) && packages+=(chromium); }
	have javac || { missing+=("a JDK") && packages+=(default-jdk-headless); }
	[[ -e /usr/share/java/tomcat9-coyote.jar ]] || { missing+=(Tomcat) && packages+=(libtomcat9-java); }
	[[ -e /usr/share/tomcat10-examples ]] || { missing+=("Tomcat's examples") && packages+=(libtomcat10-java tomcat10-examples); }
	[[ -e /usr/share/java/jetty9-server.jar ]] || { missing+=(Jetty) && packages+=(libjetty9-java); }
	# Debian's packages are for Debian's Python, whichever is found first.
	/usr/bin/python3 -c 'import flask' 2>/dev/null || { missing+=(Flask) && packages+=(python3-flask); }
	/usr/bin/python3 -c 'import django' 2>/dev/null || { missing+=(Django) && packages+=(python3-django); }
	have python3 || { missing+=(python3) && packages+=(python3); }
	have node || { missing+=(node) && packages+=(nodejs); }
	have puma || { missing+=(Puma) && packages+=(puma); }
	ruby -e 'require "sinatra/base"' 2>/dev/null || { missing+=(Sinatra) && packages+=(ruby-sinatra); }
	ruby -e 'require "action_controller/railtie"' 2>/dev/null || { missing+=(Rails) && packages+=(ruby-railties); }
	ruby -e 'require "rack-flash"; require "warden"' 2>/dev/null || { missing+=("rack-flash, Warden") && packages+=(ruby-rack-flash3 ruby-warden); }
	ruby -e 'require "minitest"' 2>/dev/null || { missing+=(minitest) && packages+=(ruby-minitest); }
	{ have mkdocs && [[ -e /usr/share/mkdocs/themes/material ]]; } || { missing+=(MkDocs) && packages+=(mkdocs mkdocs-material); }
	have radicale || { missing+=(Radicale) && packages+=(radicale); }
	[[ -e /usr/share/nodejs/cookie ]] || { missing+=("cookie for Node") && packages+=(node-cookie); }
	have npm || { missing+=(npm) && packages+=(npm); }
	[[ -e /usr/share/mediawiki/index.php ]] || { missing+=(MediaWiki) && packages+=(mediawiki php-sqlite3); }
	if [[ ${APPS-} == 1 ]]; then
		[[ -e /usr/share/wordpress/wp-load.php ]] || { missing+=(WordPress) && packages+=(wordpress php-mysql); }
		have mariadbd || { missing+=(MariaDB) && packages+=(mariadb-server-core); }
		[[ -e /usr/share/phpmyadmin/index.php ]] || { missing+=(phpMyAdmin) && packages+=(phpmyadmin dbconfig-no-thanks); }
		[[ -e /usr/share/redmine/config.ru ]] || { missing+=(Redmine) && packages+=(redmine redmine-sqlite); }
		have jupyter-notebook || { missing+=(Jupyter) && packages+=(jupyter-notebook); }
		have qbittorrent-nox || { missing+=(qBittorrent) && packages+=(qbittorrent-nox); }
	fi
	((${#packages[@]} == 0)) && return

	local list
	list=$(printf ', %s' "${missing[@]}")
	have apt-get || die "the tests need ${list#, }: install this and try again"
	local sudo=()
	if ((EUID != 0)); then
		have sudo || die "the tests need ${list#, }: as root, run apt-get install ${packages[*]}"
		sudo=(sudo)
	fi
	say "the tests need ${list#, }: installing ${packages[*]}"
	{
		${sudo[@]+"${sudo[@]}"} apt-get update &&
			${sudo[@]+"${sudo[@]}"} env DEBIAN_FRONTEND=noninteractive \
				apt-get install --yes --no-install-recommends "${packages[@]}"
	} </dev/null >&2 || die "apt-get could not install ${packages[*]}"
	# The tests start servers of their own.
	[[ ! " ${packages[*]} " =~ \ (redis-server|postgresql|prometheus|mediawiki|wordpress)\  ]] ||
		say "the tests do not need Redis, PostgreSQL, Prometheus and Apache as services: these may be stopped and disabled"
}

# need_modules fetches what the applications for Node in the tests need.
need_modules() {
	local app=$root/e2e/testdata/express
	cmp -s "$app/package-lock.json" "$app/node_modules/fetched.json" && return
	say "the tests need Express and others from npm: fetching what $app/package-lock.json names"
	npm ci --prefix "$app" --no-audit --no-fund --ignore-scripts </dev/null >&2 || die "npm could not fetch it"
	cp "$app/package-lock.json" "$app/node_modules/fetched.json"
}

run_tests() {
	need_go
	if [[ ${1-} == -apps ]]; then
		export APPS=1
		shift
	fi
	need_for_tests
	need_modules
	cd "$root"
	export CGO_ENABLED=1 # for the race detector
	local argument
	for argument in "$@"; do
		case $argument in
		. | ./* | "$module"*) exec go test -race -timeout 60m "$@" ;;
		esac
	done
	# One package after the other, since they start servers and watch the clock;
	# what takes long to compile is compiled before, with all cores.
	go build -race ./...
	exec go test -race -p 1 -timeout 60m ./... "$@"
}

help() {
	cat <<-'TEXT'
		Builds Caddy with the session plugin, runs it, and tests the plugin.

		  ./xcaddy.sh [build]             build ./caddy, with xcaddy if it is installed, else with go
		  ./xcaddy.sh run [ARGUMENT...]   run Caddyfile.example on http://localhost:8080, building
		                                  ./caddy if needed; the arguments go to "caddy run"
		  ./xcaddy.sh test [ARGUMENT...]  install what the tests need (Debian, Ubuntu) and run them
		                                  with the race detector; the arguments go to "go test";
		                                  after -apps, with more applications that are behind it
		  ./xcaddy.sh help                print this
	TEXT
}

command=${1:-build}
(($# == 0)) || shift
case $command in
build)
	(($# == 0)) || die "build takes no arguments"
	build
	;;
run) run "$@" ;;
test) run_tests "$@" ;;
help | -h | --help) help ;;
*)
	help >&2
	die "unknown command $command"
	;;
esac
