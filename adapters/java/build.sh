#!/bin/sh
#
# Compiles the filter for one of the two names that the servlet API has had.
#
#   build.sh jakarta|javax SERVLET_API.jar DIRECTORY [SOURCE.java...]
#
# The classes go to DIRECTORY, and so does the source of that variant. Other
# sources, written for jakarta, are compiled with it.

set -eu

variant=$1 api=$2 directory=$3
shift 3
set -- "$(dirname "$0")/CaddySessionFilter.java" "$@"
case $variant in
jakarta) script= ;;
javax) script='s/jakarta\.servlet/javax.servlet/g; s|//javax ||' ;;
*) echo "build.sh: $variant is neither jakarta nor javax" >&2 && exit 2 ;;
esac
mkdir -p "$directory/source"
for source in "$@"; do
	sed "$script" "$source" >"$directory/source/$(basename "$source")"
done
javac --release 8 -Xlint:all,-options,-classfile,-serial,-deprecation -cp "$api" -d "$directory" "$directory"/source/*.java
