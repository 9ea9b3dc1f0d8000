// nl.martijndwars:web-push, as the README calls it.

import java.security.Security;
import nl.martijndwars.webpush.Notification;
import nl.martijndwars.webpush.PushService;
import org.bouncycastle.jce.provider.BouncyCastleProvider;

class Send {
    public static void main(String[] args) throws Exception {
        Security.addProvider(new BouncyCastleProvider());
        var notification = new Notification(args[0], args[1], args[2], args[5]);
        var service = new PushService(args[3], args[4], "mailto:admin@example.org");
        var answer = service.send(notification);
        // It gives every answer as a success; whoever calls it looks at the status.
        System.out.println("sent " + answer.getStatusLine().getStatusCode());
        System.exit(0);
    }
}
