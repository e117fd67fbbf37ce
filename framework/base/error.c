/* error.c: the words of error.h, from its one table. */
#include <assent/error.h>

#include <stddef.h>

struct row {
        const char *name;
        enum assent_class class;
        const char *text;
};

static const struct row rows[ASSENT_ERR_COUNT] = {
#define X(name_, class_, sentence) [name_] = {#name_, ASSENT_CLASS_##class_, sentence},
    ASSENT_ERRORS(X)
#undef X
};

/* A number that no build of ours made: whoever asks about it must not go on with the handle. */
static const struct row stranger = {"?", ASSENT_CLASS_FATAL, "unknown error code"};

static const struct row *row_of(enum assent_err err)
{
        return (size_t)err < ASSENT_ERR_COUNT ? &rows[err] : &stranger;
}

const char *assent_err_name(enum assent_err err)
{
        return row_of(err)->name;
}

enum assent_class assent_err_class(enum assent_err err)
{
        return row_of(err)->class;
}

const char *assent_err_text(enum assent_err err)
{
        return row_of(err)->text;
}
