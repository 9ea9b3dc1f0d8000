# A stand-in for the packages that the module and the flake name. What the module builds, this
# really builds, with the machine's own shell and tools; the rest only has a name.
{ system, lib }:

let
  build =
    name: attributes: script:
    derivation (
      attributes
      // {
        inherit name system;
        builder = "/bin/sh";
        args = [
          "-euc"
          script
        ];
        PATH = "/usr/bin:/bin";
      }
    );

  tomlKey =
    name: if builtins.match "[A-Za-z0-9_-]+" name != null then name else builtins.toJSON name;
  # Scalars look in TOML as in JSON. Sets in a list are inline tables.
  tomlValue =
    value:
    if builtins.isList value then
      "[${lib.concatStringsSep ", " (map tomlValue value)}]"
    else if builtins.isAttrs value then
      "{${
        lib.concatStringsSep ", " (
          lib.mapAttrsToList (name: value: "${tomlKey name} = ${tomlValue value}") value
        )
      }}"
    else
      builtins.toJSON value;
  tomlPairs =
    set:
    lib.concatStringsSep "" (
      lib.mapAttrsToList (name: value: "${tomlKey name} = ${tomlValue value}\n") set
    );
  isTable = _: builtins.isAttrs;
  isPlain = _: value: !builtins.isAttrs value;
  toml =
    set:
    tomlPairs (lib.filterAttrs isPlain set)
    + lib.concatStringsSep "" (
      lib.mapAttrsToList (name: table: "\n[${tomlKey name}]\n${tomlPairs table}") (
        lib.filterAttrs isTable set
      )
    );

  named = name: build name { } "mkdir $out";

  pkgs = {
    formats.toml = _: {
      type = lib.types.attrsOf lib.types.anything;
      generate = name: value: builtins.toFile name (toml value);
    };

    runCommand = build;
    writeText =
      name: text:
      build name {
        inherit text;
        passAsFile = [ "text" ];
      } "cp $textPath $out";
    writeShellScriptBin =
      name: text:
      build name { } ''
        mkdir -p $out/bin
        (echo '#!/bin/sh'; cat ${pkgs.writeText name text}) >$out/bin/${name}
        chmod 755 $out/bin/${name}
      '';

    stdenv = {
      buildPlatform.canExecute = _: true;
      hostPlatform = { inherit system; };
    };

    callPackage =
      file: arguments:
      let
        function = import file;
      in
      function (builtins.intersectAttrs (builtins.functionArgs function) pkgs // arguments);

    rustPlatform.buildRustPackage = package: named package.pname // { inherit (package) meta version; };
    dockerTools = {
      buildLayeredImage = image: named image.name;
    };
    mkShell = _: named "shell";
    testers.runNixOSTest = _: named "vm-test";

    inherit lib system;
    cacert = named "cacert";
    cargo = named "cargo";
    clippy = named "clippy";
    nixfmt-tree = named "nixfmt-tree";
    python3 = named "python3";
    rust-analyzer = named "rust-analyzer";
    rustc = named "rustc";
    rustfmt = named "rustfmt";
  };
in
pkgs
