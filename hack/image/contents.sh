# shellcheck shell=bash
# What each image consists of. Sourced, with its siblings, by hack/build-image.sh and by
# hack/image/stage.sh, which the Dockerfile runs; so there is one truth for both.

# Of the image `netting`, the packages whose binaries it has.
netting_packages=(netting-data-plane netting-control-plane)

# The names that a package's program is run by in the image, as one goes by its name.
link_programs() { # DIRECTORY
  local name
  for name in netting-iptables-init netting-sidecar; do
    ln -sf netting-data-plane "$1/$name"
  done
  for name in netting netting-catalog netting-webhook; do
    ln -sf netting-control-plane "$1/$name"
  done
}

# Builds an image's binaries, and sets `binaries` to the directory that they're in.
build_binaries() { # NAME PROFILE
  binaries=$(static_directory "$2")
  case $1 in
    netting)
      # What every pod runs is built for speed, and apart, so that it gets no feature of a
      # dependency that only the others need. These are on no request's path, and at most a
      # few of them run: size counts.
      build_static "$2" 3 netting-data-plane
      build_static "$2" z netting-control-plane
      ;;
    netting-test-app) build_static "$2" 3 netting-test-app ;;
  esac
}

# The layer that changes rarely: users, and for `netting` a working iptables.
fill_base() { # NAME ROOT
  rootfs_base "$2"
  [[ $1 != netting ]] || rootfs_iptables "$2"
}

# The layer of our own: binaries, by the names that they're run by, and the bill of materials.
fill_binaries() { # NAME ROOT STATUS_D
  local name=$1 root=$2 package
  local packages=("$name")
  [[ $name != netting ]] || packages=("${netting_packages[@]}")
  for package in "${packages[@]}"; do
    install -D -m 0755 "$binaries/$package" "$root/netting/$package"
  done
  if [[ $name == netting ]]; then
    link_programs "$root/netting"
  fi
  mkdir -p "$root/usr/share/doc/netting"
  write_sbom "$name" "$3" "${packages[@]}" >"$root/usr/share/doc/netting/$name.cdx.json"
  chmod 0644 "$root/usr/share/doc/netting/$name.cdx.json"
}
