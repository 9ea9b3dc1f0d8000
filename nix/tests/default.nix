# What nix/check.sh evaluates and builds: the module, with configurations that it has to accept and
# others that it has to refuse.
{
  # The program, an absolute path.
  binary,
  # A checkout of nixpkgs' lib, in place of the stand-in.
  nixpkgsLib ? null,
}:

let
  lib = if nixpkgsLib == null then import ./nixpkgs/lib.nix else import (/. + nixpkgsLib);
  pkgs = import ./nixpkgs/pkgs.nix {
    inherit lib;
    system = builtins.currentSystem;
  };
  package =
    pkgs.runCommand "unified-push"
      {
        binary = builtins.path {
          path = binary;
          name = "binary";
        };
      }
      ''
        mkdir -p $out/bin
        cp $binary $out/bin/unified-push
      ''
    // {
      meta.mainProgram = "unified-push";
    };
  evaluate = import ./evaluate.nix { inherit lib pkgs package; };
  cases = import ./cases.nix { inherit lib; };
in
{
  accepted = lib.mapAttrs (_: configuration: (evaluate configuration).built) cases.accepted;
  guest = (evaluate cases.guest).built;
  refused = lib.mapAttrs (_: case: (evaluate case.configuration).built) cases.refused;
  # A line for each, with the message.
  messages = lib.concatStringsSep "" (
    lib.mapAttrsToList (name: case: "${name} ${case.message}\n") cases.refused
  );
  options = import ./options.nix {
    inherit lib;
    settings = (evaluate { }).config.services.unified-push.settings;
    documentation = ../../docs/configuration.md;
  };
}
