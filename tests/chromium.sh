#!/bin/sh
# Make a headless Chromium available for the tests of the report: Debian's, where root runs them and
# there is none. Elsewhere, and where it cannot be installed, those tests skip and say so.
command -v chromium >/dev/null && exit 0
[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || exit 0
echo "installing chromium (once)" >&2
export DEBIAN_FRONTEND=noninteractive
{ apt-get -qq update && apt-get -qq install -y --no-install-recommends chromium; } \
  </dev/null >/dev/null 2>&1 || echo "no chromium can be had; its tests are skipped" >&2
exit 0
