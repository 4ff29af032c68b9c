"""Tell ``twistd`` of the ``mailsvc`` command; imports nothing of ours and no reactor."""

from twisted.application.service import ServiceMaker

mailsvc = ServiceMaker(
    "mailsvc", "mailsvc.tap", "A complete mail service: SMTP, POP3, one SQL database.", "mailsvc"
)
