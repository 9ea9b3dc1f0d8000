# Evaluates the module with a configuration, and builds what NixOS would make of it.
{
  lib,
  pkgs,
  package,
}:

configuration:

let
  evaluated = lib.evalModules {
    modules = [
      ./nixos.nix
      ../module.nix
      configuration
      { services.unified-push.package = lib.mkDefault package; }
    ];
    specialArgs = { inherit pkgs; };
  };
  inherit (evaluated) config;

  failed = builtins.filter (assertion: !assertion.assertion) config.assertions;
  checked =
    if failed == [ ] then
      config
    else
      throw (
        "Failed assertions:\n"
        + lib.concatStringsSep "\n" (map (assertion: "- ${assertion.message}") failed)
      );

  # Units as NixOS writes them: a list is a line for each element.
  toValue =
    value: if value == true then "true" else if value == false then "false" else toString value;
  section =
    name: entries:
    lib.concatStringsSep "" (
      [ "[${name}]\n" ]
      ++ builtins.concatLists (
        lib.mapAttrsToList (
          key: value:
          map (element: "${key}=${toValue element}\n") (if builtins.isList value then value else [ value ])
        ) entries
      )
    );
  header =
    unit:
    section "Unit" (
      lib.optionalAttrs (unit ? description) { Description = unit.description; }
      // lib.optionalAttrs (unit ? after) { After = unit.after; }
      // lib.optionalAttrs (unit ? requires) { Requires = unit.requires; }
      // lib.optionalAttrs (unit ? startLimitIntervalSec) {
        StartLimitIntervalSec = unit.startLimitIntervalSec;
      }
    )
    + section "Install" { WantedBy = unit.wantedBy or [ ]; };
  service = unit: header unit + section "Service" (unit.serviceConfig or { });
  socket =
    unit: header unit + section "Socket" ({ ListenStream = unit.listenStreams; } // unit.socketConfig);

  files = lib.mapAttrsToList (name: text: { inherit name text; });
  units =
    files (
      lib.mapAttrs' (
        name: unit:
        # What is added to somebody else's unit becomes a drop-in.
        lib.nameValuePair (
          if unit.serviceConfig ? ExecStart then "${name}.service" else "${name}.service.d/module.conf"
        ) (service unit)
      ) checked.systemd.services
    )
    ++ files (
      lib.mapAttrs' (name: unit: lib.nameValuePair "${name}.socket" (socket unit)) (
        checked.systemd.sockets
      )
    );

  # What stands in /etc.
  etc = lib.mapAttrsToList (
    name: file: "install -D -m 444 ${file.source} $out/etc/${name}\n"
  ) checked.environment.etc;

  nginx = lib.concatStringsSep "" (
    lib.mapAttrsToList (domain: host: ''
      server {
          listen 127.0.0.1:80;
          server_name ${domain};
          ${lib.concatStringsSep "" (
            lib.mapAttrsToList (path: location: ''
              location ${path} {
                  proxy_pass ${location.proxyPass};
                  ${location.extraConfig}
              }
            '') host.locations
          )}
      }
    '') (checked.services.nginx.virtualHosts or { })
  );
in
{
  inherit (evaluated) config options;
  inherit checked;

  # A directory with all of it.
  built = pkgs.runCommand "system" { } (
    ''
      mkdir -p $out/units $out/bin
      cp ${pkgs.writeText "nginx.conf" nginx} $out/nginx.conf
      cp ${pkgs.writeText "prosody.cfg.lua" checked.services.prosody.extraConfig} $out/prosody.cfg.lua
    ''
    + lib.concatStringsSep "" etc
    + lib.concatStringsSep "" (
      map ({ name, text }: "install -D -m 444 ${pkgs.writeText "unit" text} $out/units/${name}\n") units
      ++ map (package: "[ ! -d ${package}/bin ] || cp ${package}/bin/* $out/bin\n") checked.environment.systemPackages
    )
  );
}
