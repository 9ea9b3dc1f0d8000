# The stand-in as a flake, for `nix flake check --override-input nixpkgs path:nix/tests/nixpkgs`.
{
  outputs = _: rec {
    lib = import ./lib.nix;
    legacyPackages = lib.genAttrs [ "x86_64-linux" "aarch64-linux" ] (
      system: import ./pkgs.nix { inherit system lib; }
    );
  };
}
