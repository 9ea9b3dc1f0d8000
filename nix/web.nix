# How application servers reach the daemon: the firewall, and nginx with HTTPS.
{ config, lib, ... }:

let
  inherit (lib) types;
  cfg = config.services.unified-push;
  at = "services.unified-push";
  inherit (cfg.settings.http) listen public_url;
  domain = toString cfg.nginx.domain;
  url = "https://${domain}";
  isLocal = lib.any (prefix: lib.hasPrefix prefix listen) [
    "127."
    "[::1]:"
    "unix:"
  ];
  port = lib.toInt (lib.last (lib.splitString ":" listen));
in
{
  options.services.unified-push.openFirewall = lib.mkOption {
    type = types.bool;
    default = false;
    description = ''
      Whether application servers may connect through the firewall: to nginx when
      {option}`services.unified-push.nginx.enable` is set, else to the port of `http.listen`.
    '';
  };

  options.services.unified-push.nginx = {
    enable = lib.mkEnableOption "nginx, with HTTPS, in front of unified-push";

    domain = lib.mkOption {
      type = types.nullOr types.str;
      default = cfg.settings.component.domain;
      defaultText = lib.literalExpression "config.services.unified-push.settings.component.domain";
      example = "push.example.org";
      description = "The name of the virtual host, which application servers connect to.";
    };
  };

  config = lib.mkIf cfg.enable (
    lib.mkMerge [
      {
        assertions = [
          {
            assertion = cfg.openFirewall -> cfg.nginx.enable || !isLocal;
            message = ''
              ${at}.openFirewall opens nothing: ${listen} cannot be reached from outside. Write
              ${at}.nginx.enable = true for HTTPS, or
                ${at}.settings.http.listen = "[::]:8080";
            '';
          }
        ];
        networking.firewall.allowedTCPPorts = lib.mkIf cfg.openFirewall (
          if cfg.nginx.enable then
            [
              80
              443
            ]
          else
            lib.optional (!isLocal) port
        );
      }
      (lib.mkIf cfg.nginx.enable {
        assertions = [
          {
            assertion = public_url == url || lib.hasPrefix "${url}/" public_url;
            message = ''
              Endpoints would start with ${toString public_url}, but nginx serves ${domain}. Remove
              ${at}.settings.http.public_url, or write
                ${at}.settings.http.public_url = "${url}";
            '';
          }
        ];
        services.unified-push.settings.http.public_url = lib.mkDefault url;
        services.nginx = {
          enable = true;
          virtualHosts.${domain} =
            let
              # While the daemon is down this answers 502, which senders try again, never 404.
              pass = size: {
                proxyPass = "http://${listen}";
                # They would send a second X-Forwarded-For.
                recommendedProxySettings = false;
                extraConfig = ''
                  proxy_set_header Host $host;
                  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
                  client_max_body_size ${size};
                  # Who knows a push URL can push. The error log has that of each request that fails.
                  access_log off;
                  error_log stderr crit;
                '';
              };
            in
            {
              forceSSL = lib.mkDefault true;
              # After a 301, which is the default, senders follow with a GET, and the push is lost.
              redirectCode = lib.mkDefault 308;
              enableACME = lib.mkDefault true;
              locations."/" = pass "16k";
              # Some Matrix servers send whole events.
              locations."= /_matrix/push/v1/notify" = pass "512k";
            };
        };
      })
    ]
  );
}
