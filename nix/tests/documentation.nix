# docs/install-nixos.md: its configurations are evaluated, and its table names every option.
{
  lib,
  evaluate,
  documentation,
}:

let
  text = builtins.readFile documentation;
  blocks = map (tail: builtins.head (lib.splitString "```" tail)) (
    builtins.tail (lib.splitString "```nix\n" text)
  );
  expressions = map (block: import (builtins.toFile "block.nix" block)) blocks;

  isFlake = expression: expression ? outputs;
  # The part around a configuration: it has to hand the module over.
  outputsOf =
    flake:
    flake.outputs {
      nixpkgs.lib.nixosSystem = { modules, ... }: builtins.head modules;
      unified-push.nixosModules.default = "the module";
    };
  flakes = builtins.filter isFlake expressions;
  configurations = builtins.filter (expression: !isFlake expression) expressions;

  # Names of the module's options: the settings have a table of their own.
  names =
    prefix: options:
    builtins.concatLists (
      lib.mapAttrsToList (
        name: option:
        if option._type or null == "option" then
          [ (prefix + name) ]
        else
          names "${prefix}${name}." option
      ) options
    );
  ours = names "" (evaluate { }).options.services.unified-push;
  row = builtins.match "\\| `([A-Za-z.]+)` \\| [^|]* \\| [^|]* \\|";
  told = map builtins.head (
    builtins.filter (row: row != null) (map row (lib.splitString "\n" text))
  );
  without = excluded: builtins.filter (name: !builtins.elem name excluded);
in
{
  configurations = map (configuration: (evaluate configuration).built) configurations;
  faults =
    map (name: "${name} is not in the table of options") (without told ours)
    ++ map (name: "${name} is in the table, and is no option") (without ours told)
    ++ lib.optional (
      map (flake: (outputsOf flake).nixosConfigurations.server) flakes != [ "the module" ]
    ) "the flake does not hand the module over"
    ++ lib.optional (builtins.length configurations < 4) "configurations are missing";
}
