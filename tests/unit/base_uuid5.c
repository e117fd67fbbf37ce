/* Name-based UUIDs: RFC 9562's own example, and libuuid as a second opinion. */
#include "base/uuid5.h"

#include <criterion/criterion.h>
#include <string.h>
#include <uuid/uuid.h>

Test(uuid5, the_rfc_s_example_agrees)
{
        struct assent_uuid dns, out;
        char text[ASSENT_UUID_TEXT_SIZE];

        cr_assert_eq(assent_uuid_parse("6ba7b810-9dad-11d1-80b4-00c04fd430c8", 36, &dns), ASSENT_OK);
        assent_uuid5(&dns, "www.example.com", 15, &out);
        assent_uuid_format(&out, text);
        cr_assert_str_eq(text, "2ed6657d-e927-568b-95e1-2665a8aea6a2");
}

Test(uuid5, names_of_all_sizes_around_a_block_agree_with_libuuid)
{
        uint8_t name[200];
        uuid_t wanted, namespace_id;
        struct assent_uuid id, out;

        for (size_t size = 0; size < sizeof name; size++) {
                for (size_t i = 0; i < size; i++)
                        name[i] = (uint8_t)(31 * i + size);
                memset(namespace_id, (int)size, sizeof namespace_id);
                memset(&id, (int)size, sizeof id);
                uuid_generate_sha1(wanted, namespace_id, (const char *)name, size);
                assent_uuid5(&id, name, size, &out);
                cr_assert(memcmp(&out, wanted, sizeof out) == 0, "a name of %zu bytes", size);
        }
}
