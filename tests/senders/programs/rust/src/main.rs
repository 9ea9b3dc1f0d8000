//! The crate web-push, as the README calls it.

use std::fs::File;

use web_push::{
    ContentEncoding, IsahcWebPushClient, SubscriptionInfo, VapidSignatureBuilder, WebPushClient,
    WebPushMessageBuilder,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, endpoint, p256dh, auth, pem, text] = &arguments[..] else {
        panic!("five arguments");
    };
    let subscription = SubscriptionInfo::new(endpoint, p256dh, auth);
    let signature = VapidSignatureBuilder::from_pem(File::open(pem)?, &subscription)?.build()?;
    let mut message = WebPushMessageBuilder::new(&subscription);
    message.set_payload(ContentEncoding::Aes128Gcm, text.as_bytes());
    message.set_vapid_signature(signature);
    let client = IsahcWebPushClient::new()?;
    match client.send(message.build()?).await {
        Ok(()) => println!("sent 2xx"),
        Err(error) => println!("failed {}", error.short_description()),
    }
    Ok(())
}
