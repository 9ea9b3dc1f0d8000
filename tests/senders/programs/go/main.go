// webpush-go, as the README calls it.
package main

import (
	"fmt"
	"os"

	webpush "github.com/SherClockHolmes/webpush-go"
)

func main() {
	s := &webpush.Subscription{
		Endpoint: os.Args[1],
		Keys:     webpush.Keys{P256dh: os.Args[2], Auth: os.Args[3]},
	}
	resp, err := webpush.SendNotification([]byte(os.Args[6]), s, &webpush.Options{
		Subscriber:      "admin@example.org",
		VAPIDPublicKey:  os.Args[4],
		VAPIDPrivateKey: os.Args[5],
		TTL:             30,
	})
	if err != nil {
		fmt.Println("failed", err)
		return
	}
	defer resp.Body.Close()
	// It gives every answer as a success; whoever calls it looks at the status.
	fmt.Println("sent", resp.StatusCode)
}
