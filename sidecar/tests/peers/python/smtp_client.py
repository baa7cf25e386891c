"""Sends a mail, and prints what the server answered."""

import smtplib
import sys

client = smtplib.SMTP(sys.argv[1], 25, local_hostname="client.test", timeout=10)
print(client.ehlo_resp)
print(client.sendmail("a@client.test", ["b@mail.test"], f"Subject: {sys.argv[2]}\r\n\r\nhello"))
print(client.docmd("odd"))
print(client.quit())
