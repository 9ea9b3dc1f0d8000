#!/bin/sh
# Checks how a program of ours was compiled and linked: tests/hardened.sh PROGRAM [--optimised].
# Copies are checked (FORTIFY) only in code that is optimised. Needs binutils.
set -eu
program=$1
fail() {
    echo "FAILED: $program $*" >&2
    exit 1
}
headers=$(readelf --wide --file-header --program-headers "$program")
dynamic=$(readelf --wide --dynamic "$program")
has() {
    printf '%s\n' "$1" | grep --quiet -e "$2"
}
refuse() {
    if has "$1" "$2"; then fail "$3"; fi
}

has "$headers" '^ *Type: *DYN' || fail "is always at the same address (not PIE)"
has "$headers" '^ *GNU_RELRO ' || fail "has no part that becomes read-only (RELRO)"
has "$dynamic" 'NOW' || fail "looks symbols up late, so that little becomes read-only (BIND_NOW)"
refuse "$dynamic" 'TEXTREL' "changes its own code when it starts (TEXTREL)"
has "$headers" '^ *GNU_STACK .* RW  *0' || fail "can execute its stack"
refuse "$headers" '^ *LOAD .* RWE ' "has memory that can be both written and executed"

if has "$headers" '^ *INTERP '; then
    symbols=$(nm --dynamic "$program")
    has "$symbols" ' U __stack_chk_fail' || fail "has no canaries in its C"
    [ "${2-}" != --optimised ] || has "$symbols" ' U __.*_chk@' || fail "checks no copies in its C (FORTIFY)"
else
    # Without symbols: the message, which comes with the first function that checks, and how often a
    # canary is read. The C library by itself does it some hundred times.
    [ "${2-}" != --optimised ] || strings "$program" | grep --quiet 'buffer overflow detected' ||
        fail "checks no copies in its C (FORTIFY)"
    if has "$headers" 'Machine:.*X86-64'; then
        canaries=$(objdump --disassemble --no-show-raw-insn "$program" | grep --count '%fs:0x28' || true)
        [ "$canaries" -ge 1100 ] || fail "has few canaries in its C: $canaries"
    fi
fi
echo "$program: PIE, RELRO, BIND_NOW, NX, canaries"
