/* assent.h: everything. Atomic commit over Kafka topics for C services; begin with participant.h. */
#ifndef ASSENT_ASSENT_H
#define ASSENT_ASSENT_H
#include <assent/admin.h>
#include <assent/client.h>
#include <assent/config.h>
#include <assent/consumer.h>
#include <assent/coordinator.h>
#include <assent/error.h>
#include <assent/log.h>
#include <assent/participant.h>
#include <assent/store.h>
#include <assent/types.h>
#endif
