# A stand-in for the options of NixOS that the module sets or looks at.
{ lib, ... }:

let
  inherit (lib) types;
  anything = lib.mkOption {
    type = types.anything;
    default = { };
    description = "Anything.";
  };
  list = lib.mkOption {
    type = types.listOf types.anything;
    default = [ ];
    description = "A list.";
  };
in
{
  options = {
    assertions = list;
    environment.etc = anything;
    environment.systemPackages = list;
    networking = anything;
    security = anything;
    services = {
      ejabberd = anything;
      nginx = anything;
      postgresql = anything;
      prometheus = anything;
      prosody = lib.mkOption {
        type = types.submodule {
          freeformType = types.attrsOf types.anything;
          options.enable = lib.mkEnableOption "Prosody";
          options.extraConfig = lib.mkOption {
            type = types.lines;
            default = "";
            description = "Lines at the end of the global section.";
          };
        };
        default = { };
        description = "Prosody.";
      };
    };
    # What runs the guest: Debian 12's.
    systemd.package = lib.mkOption {
      type = types.anything;
      default.version = "252";
      description = "systemd.";
    };
    systemd.services = anything;
    systemd.sockets = anything;
    systemd.tmpfiles = anything;
    virtualisation = anything;
  };
}
