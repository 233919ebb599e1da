#!/usr/bin/env bash
# Installs acclimate as a service, and removes it.
set -euo pipefail
umask 022
unset PYTHONPATH PYTHONHOME

usage() {
    cat << 'END'
Usage: systemd/install.sh [OPTIONS]            install, or install again over what is there
       systemd/install.sh --remove [--purge]   remove; adapters and configuration stay without --purge

  --package WHAT   a folder with the source or a wheel (default: the folder this script comes from)
  --extras LIST    adapt (default), tensorrt, tensorrt-rtx, or several: adapt,tensorrt; "" only serves
  --config FILE    the configuration, where none is there yet (default: configs/camera.yaml)
  --python PROGRAM Python 3.10 to 3.12 with venv (default: python3)
  --no-deps        the package alone: what it needs is brought in some other way
  --no-packages    units, user, folders and configuration only: acclimate is installed already

DESTDIR=/some/root installs into an image. Nothing is started or enabled.
END
}

die() {
    echo "install.sh: $1" >&2
    exit "${2:-1}"
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
package=$(dirname "$here")
config=$package/configs/camera.yaml
python=python3 extras=adapt
packages=yes deps=yes remove="" purge=""
while [ $# -gt 0 ]; do
    case $1 in
        --package | --extras | --config | --python)
            [ $# -gt 1 ] || die "$1 needs a value; see --help" 2
            declare "${1#--}=$2"
            shift
            ;;
        --no-packages) packages="" ;;
        --no-deps) deps="" ;;
        --remove) remove=yes ;;
        --purge) purge=yes ;;
        --help | -h) usage && exit ;;
        *) die "there is no option $1; see --help" 2 ;;
    esac
    shift
done
[ -z "$purge" ] || [ -n "$remove" ] || die "--purge goes with --remove" 2

root=${DESTDIR:-}
root=${root%/}
case $root in "" | /*) ;; *) root=$PWD/$root ;; esac
[ "$(id -u)" = 0 ] || die "needs root: it makes a user and folders of its own"
home=$root/opt/acclimate lib=$root/usr/local/lib
unit=$lib/systemd/system/acclimate.service
sysusers=$lib/sysusers.d/acclimate.conf
tmpfiles=$lib/tmpfiles.d/acclimate.conf
command=$root/usr/local/bin/acclimate

# Is the command ours, and not one that pip put there?
ours() { [ "$(readlink "$command")" = /opt/acclimate/bin/acclimate ]; }

# Is this the machine's own root, and does systemd run it?
live() { [ -z "$root" ] && [ -d /run/systemd/system ]; }

# A virtual environment knows where it lies: it is made aside, told its later place, and moved there
# whole. What fails before leaves the old one as it is.
install_packages() {
    local new=$home.new
    rm -rf "$new"
    mkdir -p "$root/opt"
    "$python" -m venv "$new" || die "$python cannot make a virtual environment: apt install python3-venv"
    "$new/bin/python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' ||
        die "$python is not Python 3.10 to 3.12; name one with --python"
    case $(readlink -f "$new/bin/python") in
        /root/* | /home/*)
            echo "install.sh: $python lies in a home folder, which the unit hides: it will not" \
                "start there without ProtectHome=no (systemctl edit acclimate)" >&2
            ;;
    esac
    local words=(--disable-pip-version-check --quiet install)
    [ -n "$deps" ] || words+=(--no-deps)
    [ ! -f "$here/../requirements.lock" ] || words+=(--constraint "$here/../requirements.lock")
    "$new/bin/python" -m pip "${words[@]}" "$package${extras:+[$extras]}"
    grep -rlIZF "$new" "$new/bin" "$new/pyvenv.cfg" | xargs -0 sed -i "s|$new|/opt/acclimate|g"
    install -m 644 "$here/../README.md" "$new/README.md"
    install -m 644 -D -t "$new/docs" "$here"/../docs/*.md
    rm -rf "$home.old"
    [ ! -e "$home" ] || mv "$home" "$home.old"
    mv "$new" "$home"
    rm -rf "$home.old"
    if [ -e "$command" ] && ! ours; then
        echo "kept $command; this version's is /opt/acclimate/bin/acclimate"
    else
        mkdir -p "$root/usr/local/bin"
        ln -sfn /opt/acclimate/bin/acclimate "$command"
    fi
}

install_files() {
    install -D -m 644 "$here/acclimate.service" "$unit"
    install -D -m 644 "$here/acclimate.sysusers" "$sysusers"
    install -D -m 644 "$here/acclimate.tmpfiles" "$tmpfiles"
    mkdir -p "$root/etc/acclimate"
    if [ -e "$root/etc/acclimate/config.yaml" ]; then
        echo "kept $root/etc/acclimate/config.yaml"
    else
        install -m 600 "$config" "$root/etc/acclimate/config.yaml"
    fi
    systemd-sysusers --root="${root:-/}" "$sysusers"
    systemd-tmpfiles --root="${root:-/}" --create "$tmpfiles"
}

install_all() {
    local tool
    for tool in systemd-sysusers systemd-tmpfiles; do
        command -v "$tool" > /dev/null || die "$tool is missing: apt install systemd"
    done
    [ -e "$package" ] || die "there is no $package"
    [ -f "$config" ] || die "there is no file $config"
    [ -z "$packages" ] || install_packages
    install_files
    if live; then
        systemctl daemon-reload
        systemctl try-restart --no-block acclimate.service
    fi
    cat << END
installed. Now:
  1. edit $root/etc/acclimate/config.yaml: your camera, your words
  2. systemctl enable --now --no-block acclimate
  3. systemctl status acclimate; http://127.0.0.1:9109/
     sudo -u acclimate acclimate status --state /var/lib/acclimate
END
}

remove_all() {
    if live && [ -e "$unit" ]; then
        systemctl disable --now acclimate.service
    fi
    rm -f "$unit" "$sysusers" "$tmpfiles"
    rm -f "$root/etc/systemd/system/multi-user.target.wants/acclimate.service"
    if ours; then rm -f "$command"; fi
    rm -rf "$home" "$home.new" "$home.old"
    if live; then systemctl daemon-reload; fi
    if [ -z "$purge" ]; then
        echo "removed; $root/etc/acclimate and $root/var/lib/acclimate stay (--purge removes them)"
        return
    fi
    rm -rf "$root/etc/acclimate" "$root/etc/systemd/system/acclimate.service.d" \
        "$root/var/lib/acclimate"
    if grep -qs '^acclimate:' "$root/etc/passwd"; then
        userdel ${root:+--prefix "$root"} acclimate
    fi
    echo "removed, with configuration, adapters and buffered frames"
}

if [ -n "$remove" ]; then remove_all; else install_all; fi
