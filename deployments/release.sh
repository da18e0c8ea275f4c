#!/usr/bin/env bash
# Builds a release: release.sh build [FOLDER] (make release), and proves that it can be built again: release.sh check (make
# release-check). VERSION is what git says, RELEASE_TARGETS narrows the platforms.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

CYCLONEDX=github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0
version=${VERSION:-$(git describe --tags --always --dirty)}
targets=${RELEASE_TARGETS:-linux/amd64 linux/arm64 darwin/arm64}
programs='api consumer standalone'

# programs_into FOLDER builds every program for every platform, and their checksums. The result depends on the sources,
# the version and the release of Go: not on the folder, the machine, or what the caller has set.
programs_into() {
  local target program
  mkdir -p "$1"
  for target in $targets; do
    for program in $programs; do
      env CGO_ENABLED=0 GOOS="${target%/*}" GOARCH="${target#*/}" GOAMD64=v1 GOARM64=v8.0 GOFLAGS= GOEXPERIMENT= \
        go build -trimpath -buildvcs=false \
        -ldflags "-s -w -buildid= -X github.com/smap-platform/identity/internal/app/command.Version=$version" \
        -o "$1/identity-$program-$version-${target/\//-}" "./cmd/$program"
    done
  done
  (cd "$1" && sha256sum identity-* >SHA256SUMS)
}

# materials writes what each program of folder $1 is made of, as it says itself (CycloneDX).
materials() {
  local file
  for file in "$1"/identity-*; do
    go run "$CYCLONEDX" bin -json -std -noserial -notimestamp -version "$version" -output "$file.cdx.json" "$file" 2>/dev/null ||
      { echo "no bill of materials for $file" >&2; exit 1; }
  done
  (cd "$1" && sha256sum identity-* >SHA256SUMS)
}

# check builds the last commit twice: in folders of different length, and the second time with nothing built before.
check() {
  local file
  work=$(mktemp -d) # not local: the trap runs after this function
  trap 'rm -rf "$work"' EXIT
  mkdir -p "$work/a" "$work/another folder/below"
  git archive HEAD | tar -x -C "$work/a"
  git archive HEAD | tar -x -C "$work/another folder/below"
  export VERSION=$version
  "$work/a/deployments/release.sh" programs "$work/first"
  GOCACHE=$work/cache "$work/another folder/below/deployments/release.sh" programs "$work/second"
  diff "$work/first/SHA256SUMS" "$work/second/SHA256SUMS" || { echo "two builds of one commit differ" >&2; exit 1; }
  for file in "$work/first"/identity-*-linux-*; do
    ! readelf -lW "$file" | grep -q INTERP || { echo "$file is not static" >&2; exit 1; }
  done
  echo "two builds of $version are equal: $(wc -l <"$work/first/SHA256SUMS") programs"
}

case "${1:-} ${2:-}" in
  'build '*)
    out=${2:-bin/release/$version}
    rm -rf "$out"
    programs_into "$out"
    materials "$out"
    ls "$out"
    ;;
  'programs '?*) programs_into "$2" ;;
  'check ') check ;;
  *)
    sed -n '2,3s/^# //p' "$0" >&2
    exit 2
    ;;
esac
