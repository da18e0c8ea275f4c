// Command oldconsumer stands in for the previous release's mail consumer in tests, bad habits included
// (docs/compatibility.md): it takes as much as the broker gives it, handles one mail after the other, acks what it
// cannot read, neither acks nor nacks a mail its server refuses, recognises no repeats, and once its connection was
// lost it connects again but consumes nothing any more.
//
// Environment: RABBITMQ_URL; SMTP_HOST and SMTP_PORT, spoken to in the clear; NAME, who it says it is in the header
// X-Sent-By of its mails, together with its process id. It writes a JSON line when it consumes and one for every copy
// it is handed, none of which quotes an address or a body. SIGINT and SIGTERM let it finish the mail in hand; exit
// code 1 says that it could not start.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/smtp"
	"os"
	"os/signal"
	"syscall"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	exchange = "smtp_send_email_exc"
	queue    = "smtp_send_email"
	sender   = "old-release@smap.example"
	// reconnectPause is between two tries to connect again.
	reconnectPause = time.Second
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "oldconsumer:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	conn, err := amqp.Dial(os.Getenv("RABBITMQ_URL"))
	if err != nil {
		return err
	}
	deliveries, err := subscribe(conn)
	if err != nil {
		return err
	}
	say(line{Message: "consuming"})
	m := mailer{
		server: net.JoinHostPort(os.Getenv("SMTP_HOST"), os.Getenv("SMTP_PORT")),
		name:   fmt.Sprintf("%s/%d", os.Getenv("NAME"), os.Getpid()),
	}
	for {
		select {
		case <-ctx.Done():
			return conn.Close()
		case d, ok := <-deliveries:
			if !ok {
				return idle(ctx)
			}
			if ctx.Err() == nil {
				m.handle(d)
			}
		}
	}
}

// subscribe declares what the previous release did, without a single argument, and consumes without a prefetch.
func subscribe(conn *amqp.Connection) (<-chan amqp.Delivery, error) {
	ch, err := conn.Channel()
	if err != nil {
		return nil, err
	}
	if err := ch.ExchangeDeclare(exchange, amqp.ExchangeFanout, true, false, false, false, nil); err != nil {
		return nil, err
	}
	if _, err := ch.QueueDeclare(queue, true, false, false, false, nil); err != nil {
		return nil, err
	}
	if err := ch.QueueBind(queue, "", exchange, false, nil); err != nil {
		return nil, err
	}
	return ch.Consume(queue, "", false, false, false, false, nil)
}

// idle connects again whenever the connection is lost, and does nothing with it.
func idle(ctx context.Context) error {
	for ctx.Err() == nil {
		if conn, err := amqp.Dial(os.Getenv("RABBITMQ_URL")); err == nil {
			say(line{Message: "connected again, idle"})
			lost := conn.NotifyClose(make(chan *amqp.Error, 1))
			select {
			case why := <-lost:
				say(line{Message: "connection lost", Error: fmt.Sprint(why)}) // nil when it was closed in order
			case <-ctx.Done():
				return conn.Close()
			}
		}
		select {
		case <-time.After(reconnectPause):
		case <-ctx.Done():
		}
	}
	return nil
}

// mail is the body of a copy.
type mail struct {
	Subject   string
	Recipient string
	Body      string
}

type mailer struct {
	server, name string
}

func (m mailer) handle(d amqp.Delivery) {
	say(line{Message: "received", MessageID: d.MessageId, Redelivered: d.Redelivered})
	var letter mail
	if err := json.Unmarshal(d.Body, &letter); err != nil {
		_ = d.Ack(false) // lost, whatever it was
		return
	}
	if err := smtp.SendMail(m.server, nil, sender, []string{letter.Recipient}, m.write(letter)); err != nil {
		say(line{Message: "the mail was not sent", MessageID: d.MessageId})
		return // the broker keeps it as ours until the channel closes
	}
	_ = d.Ack(false) // when that fails the channel has closed, and the broker redelivers the mail
}

func (m mailer) write(letter mail) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "From: %s\r\nTo: %s\r\nSubject: %s\r\nX-Sent-By: %s\r\n", sender, letter.Recipient, letter.Subject, m.name)
	fmt.Fprintf(&b, "MIME-Version: 1.0\r\nContent-Type: text/html; charset=UTF-8\r\n\r\n%s\r\n", letter.Body)
	return b.Bytes()
}

// line is what the program writes; message_id is of the copy.
type line struct {
	Message     string `json:"message"`
	MessageID   string `json:"message_id,omitempty"`
	Redelivered bool   `json:"redelivered,omitempty"`
	Error       string `json:"error,omitempty"`
}

func say(l line) {
	raw, err := json.Marshal(l)
	if err != nil {
		panic(err) // strings and a bool
	}
	fmt.Println(string(raw))
}
