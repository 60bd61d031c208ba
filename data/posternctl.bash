# bash completion for posternctl
_posternctl() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} words=() i skip=no
  case $previous in
    -c | -S | -a | --config | --socket) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
    -f | --format) mapfile -t COMPREPLY < <(compgen -W 'table tab json' -- "$current"); return ;;
  esac
  for ((i = 1; i < COMP_CWORD; i++)); do
    if [ "$skip" = yes ]; then skip=no; continue; fi
    case ${COMP_WORDS[i]} in
      -c | -S | -f | --config | --socket | --format | -x | -M | -a | -s | --since | --field | --user | --ip | --session | -H | --dest-ip)
        skip=yes ;;
      -*) ;;
      *) words+=("${COMP_WORDS[i]}") ;;
    esac
  done
  local choices=
  case ${words[*]} in
    '') choices='who kick proxy auth reload stop process service log tls config -c -S -f --help' ;;
    auth) choices='test lookup' ;;
    proxy) choices='list kick status disable enable' ;;
    process | service) choices='status' ;;
    log) choices='errors reopen' ;;
    tls) choices='list reload' ;;
    'process status' | 'service status') choices='imap-login pop3-login submission-login managesieve-login auth auth-worker anvil log' ;;
    who) choices='-1 --proxied --local --pre-login' ;;
    kick | 'proxy kick') choices='--user --ip --session --dest-ip' ;;
    stop) choices='--no-wait' ;;
    config) choices='-n -a' ;;
    'log errors') choices='--since' ;;
  esac
  mapfile -t COMPREPLY < <(compgen -W "$choices" -- "$current")
}
complete -F _posternctl posternctl
