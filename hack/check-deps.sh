#!/usr/bin/env bash
# Holds the dependencies to what the architecture promises: who may know whom, what small binaries
# never link, one version of what would not work together in two.
set -euo pipefail
cd "$(dirname "$0")/.."

broken=0

break_rule() { # SENTENCE
  broken=$((broken + 1))
  printf 'broken: %s\n' "$1"
}

# Names of all packages that a crate links, one a line; build scripts and tests left out.
linked_by() { # CRATE
  cargo tree --locked --package "$1" --edges normal --target all --prefix none --format '{p}' |
    cut -d' ' -f1 | sort -u
}

# Every package and version of the whole workspace, tests and build scripts included.
all_packages() {
  cargo tree --locked --workspace --edges normal,build,dev --target all --prefix none --format '{p}' |
    cut -d' ' -f1,2 | sort -u
}

never_links() { # CRATE PACKAGE...
  local crate=$1 package linked
  shift
  linked=$(linked_by "$crate")
  for package; do
    if grep -Fxq "$package" <<<"$linked"; then
      break_rule "$crate links $package (cargo tree --package $crate --invert $package)"
    fi
  done
}

# Which of our own crates a crate may link. What it links through another counts as well, so that
# no layer is reached around its owner.
knows_only() { # CRATE OURS...
  local crate=$1 linked known
  shift
  linked=$(linked_by "$crate")
  while read -r known; do
    if [[ $known == netting-* && " $crate $* " != *" $known "* ]]; then
      break_rule "$crate links $known; it may know ${*:-nothing of ours}"
    fi
  done <<<"$linked"
}

one_version_of() { # PACKAGE...
  local package versions
  for package; do
    versions=$(sed -n "s/^$package //p" <<<"$packages")
    if (($(wc -l <<<"$versions") > 1)); then
      break_rule "$package is there as ${versions//$'\n'/ and } (cargo tree --duplicates)"
    fi
  done
}

nobody_uses() { # PATTERN REASON
  local package
  while read -r package _; do
    if [[ $package =~ ^($1)$ ]]; then
      break_rule "$package is used: $2 (cargo tree --workspace --invert $package)"
    fi
  done <<<"$packages"
}

packages=$(all_packages)

knows_only netting-proto
knows_only netting-runtime
knows_only netting-iptables-init
knows_only netting-telemetry netting-runtime
knows_only netting-sidecar netting-runtime netting-telemetry netting-proto
knows_only netting-catalog netting-runtime netting-telemetry netting-proto
knows_only netting-webhook netting-runtime netting-telemetry
# The webhook and the catalog as libraries, and through them what those link.
knows_only netting netting-webhook netting-catalog netting-runtime netting-telemetry netting-proto
# What the image has as one program: nothing but a choice by name.
knows_only netting-data-plane netting-iptables-init netting-sidecar netting-runtime netting-telemetry netting-proto
knows_only netting-control-plane netting-catalog netting-webhook netting-runtime netting-telemetry netting-proto
# Like any application, it knows nothing of the mesh that it's run in.
knows_only netting-test-app

never_links netting-sidecar kube kube-client kube-core kube-runtime k8s-openapi
never_links netting-data-plane kube kube-client kube-core kube-runtime k8s-openapi
never_links netting-iptables-init kube kube-client kube-core kube-runtime k8s-openapi tokio
never_links netting-runtime kube k8s-openapi
never_links netting-telemetry kube k8s-openapi

one_version_of hyper http h2 tower rustls tonic prost

nobody_uses 'aws-lc-(rs|sys)' 'the crypto provider is ring'
nobody_uses 'openssl(-sys)?|native-tls' 'TLS is rustls'
nobody_uses 'serde_yaml' 'it is unmaintained; YAML is serde-saphyr'
nobody_uses 'kubert|rustables|dashmap' 'the design does without it'

if ((broken)); then
  printf '%d dependency rules are broken\n' "$broken"
  exit 1
fi
printf 'all dependency rules hold for %d packages\n' "$(wc -l <<<"$packages")"
