# A Prosody without accounts on this machine, for people whose accounts are on other XMPP servers.
{ config, lib, ... }:

let
  inherit (lib) types;
  cfg = config.services.unified-push;
  at = "services.unified-push.federation";
  domain = toString cfg.settings.component.domain;
  byNginx = cfg.nginx.enable && cfg.nginx.domain == domain;
  directory = cfg.federation.certificateDirectory;
in
{
  options.services.unified-push.federation = {
    enable = lib.mkEnableOption ''
      a Prosody without accounts, which carries the component and speaks with other XMPP servers;
      docs/federating.md says which DNS records it needs'';

    openFirewall = lib.mkEnableOption "port 5269 in the firewall, for other XMPP servers";

    certificateDirectory = lib.mkOption {
      type = types.nullOr types.path;
      default = if byNginx then "/var/lib/acme/${domain}" else null;
      defaultText = lib.literalExpression "that of security.acme, if nginx has the component's domain";
      example = "/var/lib/acme/up.example.org";
      description = ''
        Where `fullchain.pem` and `key.pem` are, for the component's domain. After a renewal, Prosody
        has to be restarted.
      '';
    };
  };

  config = lib.mkIf (cfg.enable && cfg.federation.enable) {
    assertions = [
      {
        assertion = directory != null;
        message = ''
          ${at}.enable needs a certificate for ${domain}, which other XMPP servers verify. Write
          services.unified-push.nginx.enable = true, which gets one, or
            ${at}.certificateDirectory = "/var/lib/acme/${domain}";
        '';
      }
    ];

    services.unified-push.prosody.enable = true;

    services.prosody = {
      enable = true;
      # That is for people, and there are none.
      xmppComplianceSuite = false;
      s2sSecureAuth = true;
      # Prosody insists on a host. Nobody can log in to this one.
      virtualHosts.localhost = {
        enabled = true;
        domain = "localhost";
      };
      extraConfig = ''
        c2s_ports = {}
        certificates = "/run/credentials/prosody.service"
      '';
    };

    # Prosody finds them by the domain's name.
    systemd.services.prosody.serviceConfig.LoadCredential = [
      "${domain}.crt:${toString directory}/fullchain.pem"
      "${domain}.key:${toString directory}/key.pem"
    ];
    systemd.services.prosody.after = lib.optional byNginx "acme-${domain}.service";
    systemd.services.prosody.wants = lib.optional byNginx "acme-${domain}.service";
    # Credentials are copied when the unit starts.
    security.acme.certs = lib.mkIf byNginx {
      ${domain}.postRun = "systemctl --no-block try-restart prosody.service";
    };

    networking.firewall.allowedTCPPorts = lib.mkIf cfg.federation.openFirewall [ 5269 ];
  };
}
