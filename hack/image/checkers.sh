# shellcheck shell=bash
# What bills of materials and the Dockerfile are checked with. Sourced in the repository's root.

# Installs it, and sets `checkers` to the directory of its programs.
install_checkers() {
  local wanted=hack/image/requirements.txt venv=$PWD/target/sbom/venv
  checkers=$venv/bin
  cmp --silent "$wanted" "$venv/installed.txt" && return
  hack/install-packages.sh python3-venv
  python3 -m venv --clear "$venv"
  "$checkers/pip" install --quiet --requirement "$wanted"
  cp "$wanted" "$venv/installed.txt"
}
