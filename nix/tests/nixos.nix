# A stand-in for the options of NixOS that the module sets or looks at.
{ lib, ... }:

let
  inherit (lib) types;
  anything = anythingBut { };
  anythingBut =
    default:
    lib.mkOption {
      type = types.anything;
      inherit default;
      description = "Anything.";
    };
in
{
  options = {
    assertions = lib.mkOption {
      type = types.listOf types.anything;
      default = [ ];
      description = "What has to hold.";
    };
    environment.etc = anything;
    environment.systemPackages = anythingBut [ ];
    networking = anything;
    security = anything;
    services = {
      ejabberd = anything;
      nginx = anything;
      postgresql = anything;
      prosody = {
        enable = lib.mkEnableOption "Prosody";
        extraConfig = lib.mkOption {
          type = types.lines;
          default = "";
          description = "Lines at the end of the global section.";
        };
      };
    };
    systemd.services = anything;
    systemd.sockets = anything;
    virtualisation = anything;
  };
}
