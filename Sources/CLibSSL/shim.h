// SPDX-License-Identifier: Apache-2.0
// Looks at the peer's leaf certificate while a TLS handshake of libcurl's runs, before any byte of the request is sent.
#pragma once
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

struct gateway_leaf_pin {
    unsigned char expected[32];
    unsigned char seen[32];
    int has_expected;
    int has_seen;
    int mismatch;
    /// PEM certificates to trust besides the usual ones, or NULL.
    const char *additional;
    int additional_length;
};

static inline int gateway_leaf_pin_verify(int preverified, X509_STORE_CTX *store) {
    if (!preverified) return 0;
    if (X509_STORE_CTX_get_error_depth(store) != 0) return 1;
    SSL *ssl = (SSL *)X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct gateway_leaf_pin *pin = ssl ? (struct gateway_leaf_pin *)SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)) : NULL;
    X509 *leaf = X509_STORE_CTX_get_current_cert(store);
    unsigned int length = 0;
    if (!pin || !leaf || X509_digest(leaf, EVP_sha256(), pin->seen, &length) != 1 || length != 32) return 0;
    pin->has_seen = 1;
    if (pin->has_expected && memcmp(pin->seen, pin->expected, 32) != 0) {
        pin->mismatch = 1;
        X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REJECTED);
        return 0;
    }
    return 1;
}

static inline void gateway_trust_pem(SSL_CTX *context, BIO *bio) {
    X509_STORE *store = SSL_CTX_get_cert_store(context);
    X509 *certificate;
    while (bio && (certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
        X509_STORE_add_cert(store, certificate);
        X509_free(certificate);
    }
    BIO_free(bio);
    // The end of the text is an error to the reader.
    ERR_clear_error();
}

/// The value for CURLOPT_SSL_CTX_FUNCTION; CURLOPT_SSL_CTX_DATA is a `gateway_leaf_pin`.
static inline int gateway_leaf_pin_install(void *curl, void *context, void *pin) {
    (void)curl;
    // The pin lives as long as its transfer; a later handshake on a kept connection would look at freed memory.
    SSL_CTX_set_options((SSL_CTX *)context, SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_app_data((SSL_CTX *)context, pin);
    const struct gateway_leaf_pin *own = (const struct gateway_leaf_pin *)pin;
    if (own->additional) gateway_trust_pem((SSL_CTX *)context, BIO_new_mem_buf(own->additional, own->additional_length));
    // Where a network opens TLS, its certificate authority is named to Claude Code and to this program alike.
    const char *extra = getenv("NODE_EXTRA_CA_CERTS");
    if (extra && *extra) gateway_trust_pem((SSL_CTX *)context, BIO_new_file(extra, "r"));
    SSL_CTX_set_verify((SSL_CTX *)context, SSL_VERIFY_PEER, gateway_leaf_pin_verify);
    return 0;
}
