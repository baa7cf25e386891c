# shellcheck shell=bash
# What an image holds besides our binaries. Sourced by hack/build-image.sh, whose fail it uses.

# Users, a place for temporary files, and the mount points that container runtimes expect. There
# is no shell.
rootfs_base() { # ROOT
  local root=$1
  mkdir -p "$root"/{dev,etc,proc,run,sys,tmp}
  chmod 1777 "$root/tmp"
  cat >"$root/etc/passwd" <<'PASSWD'
root:x:0:0:root:/:/usr/sbin/nologin
netting:x:4150:4150:Netting:/:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/:/usr/sbin/nologin
PASSWD
  cat >"$root/etc/group" <<'GROUP'
root:x:0:
netting:x:4150:
nogroup:x:65534:
GROUP
  # Without it glibc asks name servers before /etc/hosts.
  printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"
  install -D -m 0644 LICENSE "$root/usr/share/doc/netting/copyright"
}

# Netting reads and writes the table nat alone, where the kernel takes none of these targets.
modules_left_out='CHECKSUM|CONNSECMARK|CT|DNPT|DSCP|ECN|HL|NOTRACK|SECMARK|SNPT|TCPOPTSTRIP|TOS|TPROXY|TTL'
# For a node's own rules, by chance or by rate, which no pod has: these two alone need libm, which is
# a fifth of all else that iptables brings along.
modules_left_out+='|statistic|RATEEST'

# iptables of both backends from the machine's Debian package: the two programs, their names,
# their extension modules, and the C library and loader that they need.
rootfs_iptables() { # ROOT
  local root=$1 program modules file
  for program in /usr/sbin/xtables-nft-multi /usr/sbin/xtables-legacy-multi; do
    [[ -x $program ]] || fail "$program is missing: apt-get install iptables (Debian or Ubuntu)"
    copy "$root" "$program"
  done
  link_names "$root/usr/sbin" xtables-nft-multi '' -nft
  link_names "$root/usr/sbin" xtables-legacy-multi -legacy

  modules=$(package_files 'libipt_.*\.so|libip6t_.*\.so|libxt_.*\.so' | grep -Ev "_($modules_left_out)\.so\$")
  [[ -n $modules ]] || fail "package iptables has no extension modules: apt-get install --reinstall iptables"
  local loaded=(/usr/sbin/xtables-nft-multi /usr/sbin/xtables-legacy-multi)
  while IFS= read -r file; do
    copy "$root" "$file"
    loaded+=("$file")
  done <<<"$modules"
  while IFS= read -r file; do
    copy "$root" "$file"
  done < <(libraries_of "${loaded[@]}")
  [[ -n $(echo "$root"/lib*/ld-linux*) ]] || fail "ldd named no dynamic loader for iptables"
  describe_packages "$root"
}

copied_files=()

# Copies a file to the same place, with the file that a symbolic link leads to in the link's
# stead, unless it's beside it.
copy() { # ROOT FILE
  local root=$1 file=$2 target
  mkdir -p "$root$(dirname "$file")"
  target=$(readlink "$file" || true)
  if [[ -n $target && $target != */* ]]; then
    ln -sf "$target" "$root$file"
    [[ -e $root$(dirname "$file")/$target ]] || copy "$root" "$(dirname "$file")/$target"
  else
    install -m 0755 "$file" "$root$file"
  fi
  copied_files+=("$file")
}

link_names() { # DIRECTORY PROGRAM SUFFIX...
  local directory=$1 program=$2 suffix family verb
  shift 2
  for suffix; do
    for family in iptables ip6tables; do
      for verb in '' -restore -save; do
        ln -sf "$program" "$directory/$family$suffix$verb"
      done
    done
  done
}

package_files() { # PATTERN OF FILE NAMES
  dpkg --listfiles iptables | grep -E "/xtables/($1)\$" || true
}

# The shared libraries and the loader that programs and modules name, each once.
libraries_of() { # FILE...
  ldd "$@" | sed -nE 's/^\t(.* => )?(\/[^ ]+) \(.*/\2/p' | sort -u
}

# The packages of all copied files. dpkg knows a file by its path from before or after /lib became
# /usr/lib, so it's asked for both, and one of them always fails.
copied_packages() {
  { dpkg --search "${copied_files[@]}" "${copied_files[@]/#//usr}" 2>/dev/null || true; } |
    sed 's/[:,].*//' | sort -u
}

# Versions where scanners look for them in images without dpkg (as distroless images do), and the
# licences.
describe_packages() { # ROOT
  local root=$1 package
  mkdir -p "$root/var/lib/dpkg/status.d"
  while IFS= read -r package; do
    dpkg-query --status "$package" >"$root/var/lib/dpkg/status.d/$package"
    install -D -m 0644 "/usr/share/doc/$package/copyright" \
      "$root/usr/share/doc/$package/copyright"
  done < <(copied_packages)
}
