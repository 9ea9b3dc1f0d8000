#!/bin/sh
# Builds a package for Debian 12 and newer: contrib/debian/build.sh [PROGRAM [VERSION]]. Without
# PROGRAM, the script compiles the program first. It needs binutils and dpkg-dev, which come with
# build-essential.
set -eu
cd "$(dirname "$0")/../.."
[ $# != 0 ] ||
    RUSTFLAGS=$(contrib/remap.sh) CFLAGS=$(contrib/remap.sh --c) cargo build --release --locked
program=${1:-target/release/unified-push}
version=${2:-$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)}
maintainer="${DEBFULLNAME:-The unified-push package} <${DEBEMAIL:-$(id -un)@$(hostname)}>"
architecture=$(dpkg --print-architecture)
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$(date +%s)}"

work=target/debian
tree=$work/tree
rm -rf $tree
put() {
    install -D --mode=644 "$1" "$tree/$2"
}

install -d $tree/usr/bin
strip --strip-unneeded -o $tree/usr/bin/unified-push "$program"
"$program" manual $tree/usr/share
# Debian's zsh looks elsewhere than most.
mv $tree/usr/share/zsh/site-functions $tree/usr/share/zsh/vendor-completions
find $tree/usr/share/man -type f -exec gzip --best --no-name {} +
for unit in contrib/systemd/*; do
    put "$unit" "usr/lib/systemd/system/$(basename "$unit")"
done
put contrib/debian/config.toml etc/unified-push/config.toml

documents=usr/share/doc/unified-push
put contrib/debian/copyright $documents/copyright
for file in README.md CHANGELOG.md unified-push.example.toml docs/*.md docs/performance/*.md docs/pictures/*; do
    put "$file" "$documents/$file"
done
for file in alerts.yaml dashboard.json; do
    put "helm/files/$file" "$documents/monitoring/$file"
done
gzip --best --no-name >$tree/$documents/changelog.gz <<END
unified-push ($version) stable; urgency=medium

  * See CHANGELOG.md.

 -- $maintainer  $(date --rfc-email --date="@$SOURCE_DATE_EPOCH")
END

# The libraries that the program is linked with.
mkdir --parents $work/debian $tree/DEBIAN
printf 'Source: unified-push\n\nPackage: unified-push\nArchitecture: any\n' >$work/debian/control
depends=$(cd $work && dpkg-shlibdeps -O tree/usr/bin/unified-push)

for script in postinst prerm postrm; do
    install --mode=755 contrib/debian/$script $tree/DEBIAN/$script
done
echo /etc/unified-push/config.toml >$tree/DEBIAN/conffiles
(cd $tree && find etc usr -type f -exec md5sum {} +) >$tree/DEBIAN/md5sums
cat >$tree/DEBIAN/control <<END
Package: unified-push
Version: $version
Architecture: $architecture
Maintainer: $maintainer
Installed-Size: $(du --summarize --apparent-size --block-size=1024 $tree | cut -f 1)
Depends: ${depends#shlibs:Depends=}
Suggests: prosody | ejabberd, nginx | caddy | apache2
Section: net
Priority: optional
Description: UnifiedPush push server for any XMPP server
 A phone with Conversations or one of its relatives receives the push messages
 of all its apps over the XMPP connection that it keeps open anyway.
 unified-push is an external component (XEP-0114) of Prosody, ejabberd or any
 other XMPP server. It gives each app an endpoint, relays the messages that are
 posted there, and keeps them while the phone is away.
END

package=$work/unified-push_${version}_$architecture.deb
dpkg-deb --root-owner-group --build $tree "$package" >/dev/null
echo "$package"
