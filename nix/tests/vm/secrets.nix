# Secrets for the machines of the tests, outside of the Nix store's files that the module refuses.
let
  secrets = "/var/lib/secrets";
in
{
  systemd.tmpfiles.rules = [
    "d ${secrets} 0700 root root -"
    "f ${secrets}/component 0600 root root - the-component-secret"
    "f ${secrets}/unified-push 0600 root root - a-secret-of-at-least-thirty-two-bytes"
    "f ${secrets}/database 0600 root root - postgres://unified-push:password@server/unified-push"
  ];
}
