#!/usr/bin/env bash
# Proves that hack/demo.sh works, and works again, and leaves nothing behind, also when it's ended
# half way. What it measures is printed, and judged by nobody: a machine may have other things to do.
set -euo pipefail

usage() {
  cat <<'USAGE'
usage: hack/test-demo.sh

Runs hack/demo.sh twice, and once more until Ctrl-C under load. Needs what that needs. What else is
begun on this machine meanwhile, and stays, is taken for the demo's.
USAGE
}

fail() {
  printf 'hack/test-demo.sh: %s\n' "$*" >&2
  exit 1
}

[[ ${1:-} != -h && ${1:-} != --help ]] || { usage && exit; }
cd "$(dirname "$0")/.."
as_root=()
((EUID == 0)) || as_root=(sudo)
target=$(cargo metadata --no-deps --format-version 1 |
  sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/tmp"
# How long what is about to end may take; the kernel removes interfaces and mounts by and by.
end_seconds=30

# The demo's programs that run, whatever they're called in the pods: by device and inode.
processes() {
  local programs
  programs=$(stat --format '%d:%i' "$target"/demo/netting-* "$target/debug/examples/demo" 2>/dev/null) ||
    return 0
  { "${as_root[@]}" stat --dereference --format '%d:%i process %n' /proc/[0-9]*/exe 2>/dev/null || true; } |
    { grep --fixed-strings --word-regexp "$programs" || true; }
}

# All that the demo could leave, a line each.
traces() {
  ip -oneline link | awk -F ': ' '{print "interface", $2}'
  find /run/netns -mindepth 1 -maxdepth 1 2>/dev/null || true
  "${as_root[@]}" lsns --noheadings --type net --output NS | awk '{print "network namespace", $1}'
  cut -d ' ' -f 5 /proc/self/mountinfo | awk '{print "mount", $0}'
  processes
  find "$work/tmp" -mindepth 1 -maxdepth 1
}

expect_nothing_left() {
  local left until=$((SECONDS + end_seconds))
  left=$(comm -13 "$work/before" <(traces | sort --unique))
  while [[ -n $left ]] && ((SECONDS < until)); do
    sleep 0.2
    left=$(comm -12 <(printf '%s\n' "$left") <(traces | sort --unique))
  done
  [[ -z $left ]] || fail "the demo has left: $left"
  printf '\n==> nothing is left of it\n'
}

whole() { # WHICH
  printf '\n==> the demo, %s\n' "$1"
  TMPDIR=$work/tmp hack/demo.sh || fail "it ended with $?"
  expect_nothing_left
}

interrupted() {
  local pid code=0
  printf '\n==> the demo, until Ctrl-C\n'
  # In a process group of its own, as in a terminal, and not deaf to SIGINT.
  set -m
  TMPDIR=$work/tmp hack/demo.sh >"$work/log" 2>&1 &
  set +m
  pid=$!
  until grep --quiet 'requests a second to it' "$work/log"; do
    kill -0 "$pid" 2>/dev/null || { cat "$work/log" && fail 'it ended by itself'; }
    sleep 0.1
  done
  "${as_root[@]}" kill -INT -- "-$pid"
  wait "$pid" || code=$?
  cat "$work/log"
  # As shells tell of a program that SIGINT has ended.
  ((code == 130)) || fail "Ctrl-C ended it with $code"
  expect_nothing_left
}

traces | sort --unique >"$work/before"
whole 'the first time'
whole 'again'
interrupted
