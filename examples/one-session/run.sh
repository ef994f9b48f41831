#!/usr/bin/env bash
#
# Runs the five applications until Ctrl-C, or until one of them ends. With five
# numbers as arguments, they listen on these ports. All that they need is in
# Debian's packages, but for Express:
#
#   apt-get install php-cgi nodejs npm python3-flask puma ruby-sinatra default-jdk-headless libtomcat10-java

set -eu
(($# == 5)) || set -- 8091 8092 8093 8094 8095
cd -- "$(dirname -- "${BASH_SOURCE[0]}")"
adapters=$(cd ../../adapters && pwd)
dir=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; wait; rm -rf -- "$dir"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

jars=$(printf '%s:' /usr/share/java/tomcat10-{servlet-api,catalina,coyote,util,util-scan,juli,api,annotations-api,jaspic-api,jni}.jar)
"$adapters/java/build.sh" jakarta "$jars" "$dir/classes" java/*.java

PHP_FCGI_CHILDREN=4 php-cgi -b "127.0.0.1:$1" -d auto_prepend_file="$adapters/php/session.php" &
PORT=$2 node node/app.js &
PYTHONPATH=$adapters/python /usr/bin/python3 -m flask --app python/app.py run --port "$3" &
ruby -I "$adapters/ruby/lib" ruby/app.rb -o 127.0.0.1 -p "$4" -e production -s puma &
java -cp "$dir/classes:$jars" Main "$5" "$dir" &
wait -n
