# The module with the real nixpkgs: it accepts what it should, and refuses what it can without a
# build.
{
  lib,
  pkgs,
  package,
}:

let
  tests = import ./. { inherit lib pkgs package; };
  wronglyAccepted = builtins.filter (
    name: (builtins.tryEval tests.refused.${name}.drvPath).success
  ) tests.refusedByEvaluation;
in
assert lib.assertMsg (wronglyAccepted == [ ]) (
  "accepted: ${lib.concatStringsSep ", " wronglyAccepted}"
);
pkgs.runCommand "module" { } (
  lib.concatStringsSep "" (lib.mapAttrsToList (name: system: "echo ${name} ${system} >>$out\n") tests.accepted)
)
