/* assent.h: everything. Atomic commit over Kafka topics for C services; begin with participant.h. */
#ifndef ASSENT_ASSENT_H
#define ASSENT_ASSENT_H
#include <assent/admin.h>
#include <assent/cache.h>
#include <assent/client.h>
#include <assent/config.h>
#include <assent/consumer.h>
#include <assent/coordinator.h>
#include <assent/error.h>
#include <assent/fetch.h>
#include <assent/http.h>
#include <assent/idempotency.h>
#include <assent/log.h>
#include <assent/observe.h>
#include <assent/participant.h>
#include <assent/store.h>
#include <assent/types.h>
#endif
