# shellcheck shell=bash
# The same four servers as containers, from compose.yaml, where they cannot be installed.

docker_servers='rabbitmq redis postgres inbox'

docker_usable() {
  command -v docker >/dev/null && docker info >/dev/null 2>&1 && docker compose version >/dev/null 2>&1
}

# One project per clone, so that two clones share neither containers nor volumes.
compose() {
  docker compose -p "identity-stack-$(printf %s "$root" | cksum | cut -d' ' -f1)" -f "$root/deployments/compose.yaml" "$@"
}

docker_running() { [ -n "$(compose ps -q --status running "$1" 2>/dev/null)" ]; }

docker_up() {
  local name
  for name in $docker_servers; do
    docker_running "$name" || need_free_ports "$name"
  done
  # shellcheck disable=SC2086 # a list
  compose up --detach --build --wait --wait-timeout 180 $docker_servers ||
    die "the containers did not come up: docker compose said why above"
}

docker_restart() {
  compose restart "$1"
  compose up --detach --wait --wait-timeout 180 "$1"
}
