"""Certificates for tests, made by openssl(1) when they are wanted."""
import ssl
import subprocess


class Authority:
    def __init__(self, folder, name):
        self.folder, self.name = folder, name
        self.certificate, self.key = folder / f"{name}.pem", folder / f"{name}.key"
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                     "-keyout", self.key, "-out", self.certificate, "-days", "10", "-subj", f"/CN={name}",
                     "-addext", "basicConstraints=critical,CA:TRUE")

    @staticmethod
    def openssl(*args):
        subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True)

    def context(self, name, subject, days=10):
        """A server's context with a certificate for the subject, e.g. "IP:127.0.0.1"; days < 0: expired."""
        key, request, certificate, extensions = (self.folder / f"{name}.{end}" for end in ("key", "csr", "pem", "ext"))
        extensions.write_text(f"subjectAltName={subject}\n")
        self.openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                     "-keyout", key, "-out", request, "-subj", "/CN=store")
        if days > 0:
            self.openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key, "-days", days,
                         "-CAcreateserial", "-extfile", extensions, "-out", certificate)
        else:
            self.expired(request, extensions, certificate)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        return context

    def expired(self, request, extensions, certificate):
        """openssl-x509 cannot date back; openssl-ca can."""
        database, config = self.folder / "index", self.folder / "ca.conf"
        database.write_text("")
        config.write_text(f"[ca]\ndefault_ca=a\n[a]\npolicy=p\ndatabase={database}\n"
                          f"new_certs_dir={self.folder}\nserial={self.folder / 'serial'}\n[p]\ncommonName=supplied\n")
        self.openssl("ca", "-batch", "-notext", "-config", config, "-cert", self.certificate, "-keyfile", self.key,
                     "-in", request, "-out", certificate, "-md", "sha256", "-rand_serial",
                     "-startdate", "20200101000000Z", "-enddate", "20200201000000Z", "-extfile", extensions)
