#!/bin/sh
# Make a headless Chromium available for the tests of the report: Debian's, where root runs them and
# there is none. Elsewhere those tests skip and say so.
command -v chromium >/dev/null && exit 0
[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || exit 0
echo "installing chromium (once)" >&2
{ apt-get -qq update && apt-get -qq install -y --no-install-recommends chromium; } >/dev/null 2>&1 ||
  echo "chromium could not be installed; tests in a browser are skipped" >&2
exit 0
