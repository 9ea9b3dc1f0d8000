# What nix/check.sh evaluates and builds: the module, with configurations that it has to accept and
# others that it has to refuse.
{
  # The program, an absolute path.
  binary ? null,
  # A checkout of nixpkgs' lib, in place of the stand-in.
  nixpkgsLib ? null,
  lib ? if nixpkgsLib == null then import ./nixpkgs/lib.nix else import (/. + nixpkgsLib),
  pkgs ? import ./nixpkgs/pkgs.nix {
    inherit lib;
    system = builtins.currentSystem;
  },
  package ?
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
    },
}:

let
  evaluate = import ./evaluate.nix { inherit lib pkgs package; };
  cases = import ./cases.nix { inherit lib; };
  refused = cases.refused // cases.refusedByDaemon;
  inherit (lib) mapAttrs;
in
{
  accepted = mapAttrs (_: configuration: (evaluate configuration).built) cases.accepted;
  refused = mapAttrs (_: case: (evaluate case.configuration).built) refused;
  refusedByEvaluation = builtins.attrNames cases.refused;
  # A line for each, with the message.
  messages = lib.concatStringsSep "" (
    lib.mapAttrsToList (name: case: "${name} ${case.message}\n") refused
  );
  guest = (evaluate cases.guest).built;
  documentation = import ./documentation.nix {
    inherit lib evaluate;
    documentation = ../../docs/install-nixos.md;
  };
  # The machines of the tests for who has a builder, as far as the stand-in goes.
  machines = lib.concatMap lib.attrValues (
    lib.mapAttrsToList (
      _: file: mapAttrs (_: node: (evaluate node).built) (import file { module = { }; }).nodes
    ) (import ./vm)
  );
  scripts = mapAttrs (_: file: (import file { module = { }; }).testScript) (import ./vm);
}
