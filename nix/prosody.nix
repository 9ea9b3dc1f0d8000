# The component in a Prosody on the same machine, with the same secret.
{ config, lib, ... }:

let
  cfg = config.services.unified-push;
  at = "services.unified-push";
  inherit (cfg.settings.component) domain host port;
  credential = "unified-push-component-secret";
  isLocal = lib.hasPrefix "127." host || host == "::1" || host == "localhost";
in
{
  options.services.unified-push.prosody.enable = lib.mkEnableOption ''
    the component in the Prosody of this machine. For ejabberd there is no such option, as its
    configuration is a file of one's own: docs/install-nixos.md has the lines'';

  config = lib.mkIf (cfg.enable && cfg.prosody.enable) {
    assertions = [
      {
        assertion = config.services.prosody.enable;
        message = ''
          ${at}.prosody.enable adds the component to services.prosody, which is not enabled. Write
          services.prosody.enable = true, or remove ${at}.prosody.enable and tell your XMPP server
          about the component.
        '';
      }
      {
        assertion = cfg.component.secretFile != null;
        message = ''
          ${at}.prosody.enable hands the component's secret to Prosody and needs it in a file; any
          long random text will do, such as `unified-push gen-secret` prints. Write
            ${at}.component.secretFile = "/var/lib/secrets/unified-push-component";
        '';
      }
      {
        assertion = isLocal;
        message = ''
          ${at}.prosody.enable is for the Prosody of this machine, but the component connects to
          ${host}. Remove ${at}.settings.component.host or ${at}.prosody.enable.
        '';
      }
    ];

    services.prosody.extraConfig = lib.mkMerge [
      (lib.optionalString (port != 5347) "component_ports = { ${toString port} }")
      # At the end: what follows a Component belongs to it.
      (lib.mkAfter ''
        Component "${toString domain}"
          do
            -- Where prosodyctl runs by itself, systemd has not told it where the secret is.
            local directory = ENV_CREDENTIALS_DIRECTORY or "/run/credentials/prosody.service"
            local file = (Lua or _G).io.open(directory .. "/${credential}")
            component_secret = file and file:read("*a"):gsub("\n$", "") or nil
          end
      '')
    ];

    systemd.services.prosody.serviceConfig.LoadCredential = [
      "${credential}:${toString cfg.component.secretFile}"
    ];
  };
}
