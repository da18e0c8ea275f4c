package smtptest

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/hmac"
	"crypto/md5"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

var (
	// errEnd ends a dialogue: it was cut by a rule, ended by QUIT, or has failed.
	errEnd = errors.New("the dialogue is over")
	// errRefused ends a command that a rule has refused. The dialogue goes on.
	errRefused = errors.New("the command was refused")
)

// dialogue is one connection. Its steps return errRefused, or another error when it has ended.
type dialogue struct {
	srv       *Server
	conn      net.Conn // the socket, or the TLS connection on it
	in        *bufio.Reader
	encrypted bool
	authed    bool
	mail      *Message // nil before MAIL
	mails     int      // that have come up to their final dot
}

// serve leads one dialogue to its end. The caller closes the socket without a TLS close notify, as a crash would.
func (s *Server) serve(conn net.Conn) {
	d := &dialogue{srv: s}
	d.speakOn(conn)
	if s.opts.TLS == ImplicitTLS && d.encrypt() != nil {
		return
	}
	if d.act(Greeting, "220 smtptest ESMTP ready") != nil {
		return
	}
	for {
		line, err := d.readLine()
		if err != nil {
			return
		}
		verb, arg, _ := strings.Cut(line, " ")
		if err := d.command(strings.ToUpper(verb), arg); err != nil && !errors.Is(err, errRefused) {
			return
		}
	}
}

func (d *dialogue) speakOn(conn net.Conn) {
	d.conn, d.in = conn, bufio.NewReader(conn)
}

func (d *dialogue) encrypt() error {
	conn := tls.Server(d.conn, d.srv.tls)
	if err := conn.HandshakeContext(d.srv.stopped); err != nil {
		return err
	}
	d.speakOn(conn)
	d.encrypted = true
	return nil
}

func (d *dialogue) command(verb, arg string) error {
	switch verb {
	case "EHLO":
		d.mail = nil
		return d.act(Ehlo, d.greeting()...)
	case "HELO":
		d.mail = nil
		return d.act(Ehlo, "250 smtptest")
	case "STARTTLS":
		return d.startTLS()
	case "AUTH":
		return d.auth(arg)
	case "MAIL":
		return d.from(arg)
	case "RCPT":
		return d.to(arg)
	case "DATA":
		return d.data()
	case "RSET":
		d.mail = nil
		return d.write("250 2.0.0 reset")
	case "NOOP":
		return d.write("250 2.0.0 nothing done")
	case "QUIT":
		_ = d.act(Quit, "221 2.0.0 bye")
		return errEnd
	default:
		return d.write("500 5.5.2 unknown command")
	}
}

func (d *dialogue) greeting() []string {
	lines := []string{"250-smtptest", "250-8BITMIME", "250-SMTPUTF8", "250-ENHANCEDSTATUSCODES"}
	if d.srv.opts.Pipelining {
		lines = append(lines, "250-PIPELINING")
	}
	if d.srv.opts.TLS == StartTLS && !d.encrypted {
		lines = append(lines, "250-STARTTLS")
	}
	return append(lines, "250 AUTH "+cmp.Or(d.srv.opts.Auth, "PLAIN LOGIN"))
}

func (d *dialogue) startTLS() error {
	if d.srv.opts.TLS != StartTLS || d.encrypted {
		return d.write("502 5.5.1 STARTTLS is not offered")
	}
	if err := d.act(Upgrade, "220 2.0.0 go ahead"); err != nil {
		return err
	}
	d.mail, d.authed = nil, false // RFC 3207 §4.2: discard what was said in the clear
	return d.encrypt()
}

func (d *dialogue) auth(arg string) error {
	if err := d.act(Auth); err != nil {
		return err
	}
	mechanism, initial, _ := strings.Cut(arg, " ")
	user, password, err := d.credentials(strings.ToUpper(mechanism), initial)
	if err != nil {
		return err
	}
	want := d.srv.opts
	if want.Username != "" && (user != want.Username || password != want.Password) {
		return d.write("535 5.7.8 authentication failed")
	}
	d.authed = true
	return d.write("235 2.7.0 welcome")
}

// credentials prompts for what the mechanism still lacks. Unreadable input yields empty strings, which match no
// configured user.
func (d *dialogue) credentials(mechanism, initial string) (user, password string, err error) {
	ask := func(prompt string) string {
		if err != nil {
			return ""
		}
		if err = d.write("334 " + base64.StdEncoding.EncodeToString([]byte(prompt))); err != nil {
			return ""
		}
		var line string
		line, err = d.readLine()
		decoded, _ := base64.StdEncoding.DecodeString(line)
		return string(decoded)
	}
	given, _ := base64.StdEncoding.DecodeString(initial)
	switch {
	case mechanism == "LOGIN" && initial != "":
		return string(given), ask("Password:"), err
	case mechanism == "LOGIN":
		user = ask("Username:")
		return user, ask("Password:"), err
	case mechanism == "CRAM-MD5":
		return d.digested(ask("<challenge@smtptest>"))
	case mechanism == "PLAIN" && initial == "":
		given = []byte(ask(""))
	}
	parts := bytes.Split(given, []byte{0}) // RFC 4616: authzid, authcid, password
	if mechanism != "PLAIN" || len(parts) != 3 {
		return "", "", err
	}
	return string(parts[1]), string(parts[2]), err
}

// digested returns the server's own password when the reply to the challenge proves that the client knows it (RFC 2195).
func (d *dialogue) digested(reply string) (user, password string, err error) {
	user, proof, _ := strings.Cut(reply, " ")
	mac := hmac.New(md5.New, []byte(d.srv.opts.Password))
	mac.Write([]byte("<challenge@smtptest>"))
	if hex.EncodeToString(mac.Sum(nil)) == proof {
		password = d.srv.opts.Password
	}
	return user, password, nil
}

func (d *dialogue) from(arg string) error {
	if d.srv.opts.Username != "" && !d.authed {
		return d.write("530 5.7.0 authentication required")
	}
	if err := d.act(Mail, "250 2.1.0 sender ok"); err != nil {
		return err
	}
	d.mail = &Message{From: path(arg), TLS: d.encrypted}
	return nil
}

func (d *dialogue) to(arg string) error {
	if d.mail == nil {
		return d.write("503 5.5.1 MAIL first")
	}
	d.mail.To = append(d.mail.To, path(arg))
	err := d.act(Rcpt, "250 2.1.5 recipient ok")
	if err != nil {
		d.mail.To = d.mail.To[:len(d.mail.To)-1]
	}
	return err
}

func (d *dialogue) data() error {
	if d.mail == nil || len(d.mail.To) == 0 {
		return d.write("503 5.5.1 MAIL and RCPT first")
	}
	err := d.act(Data, "354 end with a dot on a line of its own")
	if err != nil {
		return err
	}
	mail := d.mail
	d.mail = nil
	if mail.Data, err = d.readMail(); err != nil {
		return err
	}
	rule := d.srv.record(mail, d.mails)
	d.mails++
	defer d.srv.settle(mail)
	if err := d.srv.pause(rule); err != nil {
		return err
	}
	d.srv.setAccepted(mail, rule.accepts())
	err = d.perform(rule, "250 2.0.0 accepted")
	if errors.Is(err, errWrite) {
		d.srv.setAccepted(mail, false)
	}
	return err
}

// readMail reads up to the final dot and undoes the stuffing (RFC 5321 §4.5.2).
func (d *dialogue) readMail() ([]byte, error) {
	var mail []byte
	for {
		line, err := d.in.ReadBytes('\n')
		if err != nil {
			return nil, err
		}
		if string(line) == ".\r\n" {
			return mail, nil
		}
		mail = append(mail, bytes.TrimPrefix(line, []byte{'.'})...)
	}
}

func (d *dialogue) readLine() (string, error) {
	line, err := d.in.ReadString('\n')
	return strings.TrimRight(line, "\r\n"), err
}

// act counts a verb and applies its rule. normal is the reply of a healthy server, nothing if that comes later.
func (d *dialogue) act(verb Verb, normal ...string) error {
	var recipients []string
	if d.mail != nil {
		recipients = d.mail.To
	}
	if verb == Rcpt {
		recipients = recipients[len(recipients)-1:]
	}
	rule := d.srv.nextRule(verb, recipients, d.mails)
	if err := d.srv.pause(rule); err != nil {
		return err
	}
	return d.perform(rule, normal...)
}

// perform applies a rule after its delay.
func (d *dialogue) perform(rule Rule, normal ...string) error {
	switch rule.end {
	case hang:
		<-d.srv.stopped.Done()
		return errEnd
	case cut:
		return errEnd
	}
	var refused error
	if rule.code != 0 {
		normal = []string{refusal(rule)}
		refused = errRefused
	}
	if len(normal) > 0 {
		if err := d.write(normal...); err != nil {
			return err
		}
	}
	if rule.end == answerAndCut || rule.code == 421 || rule.code != 0 && rule.verb == Greeting {
		return errEnd
	}
	return refused
}

// refusal returns a reply with an enhanced code where a client may expect one (RFC 2034 §4).
func refusal(rule Rule) string {
	if rule.text != "" {
		return fmt.Sprintf("%d %s", rule.code, rule.text)
	}
	if rule.verb == Greeting || rule.verb == Ehlo {
		return fmt.Sprintf("%d refused by the script", rule.code)
	}
	if rule.verb == Rcpt && rule.code == 550 {
		return "550 5.1.1 there is no such recipient, by the script"
	}
	return fmt.Sprintf("%d %d.0.0 refused by the script", rule.code, rule.code/100)
}

// errWrite marks a reply that could not be sent.
var errWrite = errors.New("the reply could not be written")

func (d *dialogue) write(lines ...string) error {
	if _, err := d.conn.Write([]byte(strings.Join(lines, "\r\n") + "\r\n")); err != nil {
		return errors.Join(errWrite, err)
	}
	return nil
}

// pause waits as the rule says, or until the server is closed.
func (s *Server) pause(r Rule) error {
	if !r.waits() {
		return nil
	}
	var over <-chan time.Time
	if r.delay > 0 {
		over = time.After(r.delay)
	}
	select {
	case <-over:
		return nil
	case <-r.until:
		return nil
	case <-s.stopped.Done():
		return errEnd
	}
}

// path returns the address in FROM:<address> or TO:<address>, without parameters.
func path(arg string) string {
	_, rest, _ := strings.Cut(arg, "<")
	address, _, _ := strings.Cut(rest, ">")
	return address
}
