#!/usr/bin/env bash
# Run the steps of the Dockerfile where there is no container engine: in an empty Debian 12, made by
# debootstrap, which has Python 3.11 as the base image does. It needs root, network and 10 GiB, and
# ends with a plan and a study of two trials by the installed command.
#
#   studies/cluster/try_dockerfile.sh FOLDER [MOUNTED ...]
#
# FOLDER is made, and kept. MOUNTED are files and folders of this machine that are seen there too,
# such as pip's configuration and a folder of wheels.
set -euo pipefail
[ $# -ge 1 ] && [ ! -e "$1" ] || { echo "usage: try_dockerfile.sh NEW_FOLDER [MOUNTED ...]" >&2; exit 2; }
mkdir -p "$1"
root=$(cd "$1" && pwd)
shift
cd "$(dirname "$0")/../.."

unmount() { awk -v r="$root/" 'index($2, r) == 1 { print $2 }' /proc/mounts | sort -r | xargs -r umount --lazy; }
trap unmount EXIT

debootstrap --variant=minbase --include=python3-venv,ca-certificates bookworm "$root" >/dev/null
for path in /dev /dev/shm /proc /sys /etc/resolv.conf "$@"; do
  if [ -d "$path" ]; then mkdir -p "$root$path"; else mkdir -p "$root$(dirname "$path")"; touch "$root$path"; fi
  mount --bind "$path" "$root$path"
done
# What the base image brings: the user, an environment for pip, and Ray, which the lock file has too.
chroot "$root" useradd --create-home --gid users ray
chroot "$root" python3 -m venv /opt/base
chroot "$root" chown -R ray:users /opt/base

inside() {
  chroot --userspec=ray:users "$root" \
    env HOME=/home/ray PATH="/opt/base/bin:/usr/bin:/bin" sh -euc "cd $workdir; $1"
}
workdir=/home/ray
while read -r instruction rest; do
  case $instruction in
    '#'* | '' | ARG | FROM) ;;
    WORKDIR) workdir=$rest ;;
    RUN) echo "RUN $rest"; inside "$rest" ;;
    COPY)
      read -ra words <<<"${rest#--chown=ray:users }"
      target=${words[-1]}
      unset 'words[-1]'
      case $target in /*) ;; *) target=$workdir/$target ;; esac
      echo "COPY ${words[*]} $target"
      mkdir -p "$root$target"
      for source in "${words[@]}"; do
        if [ -d "$source" ]; then cp -a "$source/." "$root$target"; else cp -a "$source" "$root$target"; fi
      done
      chroot "$root" chown -R ray:users "$target"
      ;;
    *) echo "this script knows no $instruction" >&2; exit 1 ;;
  esac
done <studies/cluster/Dockerfile

inside "diffrop --version; diffrop study tau --dry-run"
inside "diffrop study tau --study-name tried --trials 2 --images 2048 --num-samples 100"
