// Package mail owns the letters that Latchkey writes: what waits to be sent, how
// a letter reads, and how it gets to a mail server.
//
// A request only puts a Job into the Queue, which is in Redis and shared by all
// processes: a mail server that is slow or away must not be felt by a user, and
// the time of an answer must not tell whether an account exists. Queue.Run takes
// the jobs one by one. Who runs it turns a Job into a Letter, and makes the link
// only then: no secret ever waits in Redis. Compose turns a Letter into a
// Message, and a Sender sends it.
//
// All texts stand in texts.en.json, for whoever translates them; the layout is in
// letter.html.tmpl and letter.txt.tmpl. The package knows nothing of accounts,
// tokens and URLs of ours.
//
// Start reading at Job in job.go, then Queue in queue.go and run.go, Compose in
// letter.go, and SMTP in smtp.go.
package mail
