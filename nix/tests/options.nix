# The module's options beside those of docs/configuration.md, which a test of the daemon compares
# with its own table. Gives the differences: none is right.
{
  lib,
  settings,
  documentation,
}:

let
  # What the module sets by itself: cases.nix shows that it refuses each of them.
  elsewhere = [
    "secret"
    "secret_file"
    "previous_secrets"
    "previous_secrets_file"
    "state_dir"
    "component.secret"
    "component.secret_file"
    "store.url_file"
  ];

  flat =
    prefix: set:
    builtins.concatLists (
      lib.mapAttrsToList (
        name: value:
        if builtins.isAttrs value then
          flat "${prefix}${name}." value
        else
          [
            {
              name = prefix + name;
              inherit value;
            }
          ]
      ) set
    );
  ours = builtins.listToAttrs (flat "" settings);

  # | `option` | `variable` | type | default | meaning |
  row = builtins.match "\\| `([a-z_.]+)` \\| `UNIFIED_PUSH_[A-Z_]+` \\| .* \\| ([^|]*) \\| [^|]* \\|";
  rows = builtins.filter (row: row != null) (
    map row (lib.splitString "\n" (builtins.readFile documentation))
  );
  documented = builtins.listToAttrs (
    map (row: {
      name = builtins.elemAt row 0;
      value = builtins.elemAt row 1;
    }) rows
  );

  written = value: "`${builtins.replaceStrings [ "\",\"" ] [ "\", \"" ] (builtins.toJSON value)}`";
  names = builtins.attrNames;
in
assert builtins.length rows > 25;
map (name: "${name} is no option of the module") (
  builtins.filter (name: !(ours ? ${name} || builtins.elem name elsewhere)) (names documented)
)
++ map (name: "${name} is no option of the daemon") (
  builtins.filter (name: !documented ? ${name}) (names ours ++ elsewhere)
)
++ map (name: "${name} is ${written ours.${name}} here, and ${documented.${name}} in the daemon") (
  builtins.filter (
    name: documented ? ${name} && ours.${name} != null && written ours.${name} != documented.${name}
  ) (names ours)
)
