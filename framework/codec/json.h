/* json.h: a message as one line of JSON for people and their tools. */
#ifndef ASSENT_CODEC_JSON_H
#define ASSENT_CODEC_JSON_H

#include "base/buffer.h"
#include "core/message.h"

/* The line, NUL-terminated, in `json` until its next use. */
const char *assent_json_message(struct assent_buffer *json, const struct assent_message *message);

#endif
