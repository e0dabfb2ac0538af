// Package mail owns the emails that the server sends: the queue, the texts and the delivery to
// an SMTP server.
//
// A request only pushes a Job to the Queue, which is in Redis and shared by all processes. So users
// do not notice a slow mail server, and response times do not reveal whether an account exists.
// Queue.Run calls a handler for each job. The handler turns the Job into an Email, a Composer renders
// the Email as a Message, and a Sender sends it. Links with one-time tokens are created in the
// handler, so Redis never contains a secret. If it is not known whether the recipient's email
// address belongs to an account, Queue.RunLookups finds out first.
//
// The texts are in texts.en.json, ready for translation. The layout is in email.html.tmpl
// and email.txt.tmpl.
//
// The package knows nothing about accounts, tokens or the URLs of the product: package auth
// decides when to send which email, and handles the jobs. Package mailtest provides an SMTP
// server for tests.
//
// Start reading at Job in job.go and Compose in compose.go. Then read queue.go and run.go
// for the queue, and smtp.go and smtp_session.go for the delivery.
package mail
