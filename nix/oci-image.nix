# `nix build .#oci-image && podman load <result`; the Containerfile is the way without Nix.
{
  dockerTools,
  lib,
  unified-push,
}:

dockerTools.buildLayeredImage {
  name = "unified-push";
  tag = unified-push.version;
  # The state directory belongs to the user.
  fakeRootCommands = ''
    mkdir -p var/lib/unified-push
    chown -R 65532:65532 var/lib/unified-push
  '';
  config = {
    Entrypoint = [ (lib.getExe unified-push) ];
    Cmd = [ "serve" ];
    User = "65532:65532";
    # A container's loopback is nobody else's.
    Env = [
      "UNIFIED_PUSH_HTTP__LISTEN=[::]:8080"
      "UNIFIED_PUSH_ADMIN__LISTEN=[::]:8081"
    ];
    ExposedPorts."8080/tcp" = { };
    ExposedPorts."8081/tcp" = { };
    Volumes."/var/lib/unified-push" = { };
    StopSignal = "SIGTERM";
  };
}
