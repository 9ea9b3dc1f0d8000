// npm's web-push, as the README calls it.
const webpush = require("web-push");

const [endpoint, p256dh, auth, publicKey, privateKey, text] = process.argv.slice(2);
webpush.setVapidDetails("mailto:admin@example.org", publicKey, privateKey);
webpush.sendNotification({ endpoint, keys: { p256dh, auth } }, text).then(
  (answer) => console.log("sent", answer.statusCode),
  (error) => console.log("failed", error.statusCode),
);
