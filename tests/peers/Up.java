import dev.paseto.jpaseto.Pasetos;
import dev.paseto.jpaseto.lang.Keys;
import java.util.Base64;

/**
 * Makes a token as `up` does, with the library that it uses: Up KEY OWNER APPLICATION INSTANCE EXPIRES. The
 * expiry is a number of milliseconds, which is not what PASETO prescribes.
 */
class Up {
    public static void main(String[] args) {
        var token =
                Pasetos.V2.LOCAL.builder()
                        .setSharedSecret(Keys.secretKey(Base64.getDecoder().decode(args[0])))
                        .setSubject(args[1])
                        .claim("application", args[2])
                        .claim("instance", args[3])
                        .claim("exp", Long.parseLong(args[4]))
                        .compact();
        System.out.println(token);
    }
}
