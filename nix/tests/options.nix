# For tests/options.py: each option of `settings`, with its default and what it may be.
{ lib, format }:

let
  flat =
    prefix: options:
    builtins.concatLists (
      lib.mapAttrsToList (
        name: option:
        if option._type or null == "option" then
          [
            {
              name = prefix + name;
              value = {
                inherit (option) default;
                type = option.type.description;
              };
            }
          ]
        else
          flat "${prefix}${name}." option
      ) options
    );
in
builtins.listToAttrs (flat "" (import ../settings.nix { inherit lib format; }).options)
