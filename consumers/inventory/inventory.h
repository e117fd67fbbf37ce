/* inventory.h: stock and reservations. kind "reserve", payload {"items": [{"sku": "lamp",
 * "quantity": 1}]}. prepare reserves every line or none, commit deducts and records the shipment,
 * abort releases. */
#ifndef ASSENT_CONSUMERS_INVENTORY_H
#define ASSENT_CONSUMERS_INVENTORY_H

#include <sqlite3.h>

#include <assent/participant.h>

enum inventory_sql {
        INVENTORY_STOCK,   /* find one SKU */
        INVENTORY_RESERVE, /* reserve a quantity of it */
        INVENTORY_LINE,    /* remember for whom */
        INVENTORY_DEDUCT,  /* all lines of a branch leave the stock */
        INVENTORY_SHIP,    /* … and are recorded */
        INVENTORY_RELEASE, /* all lines of a branch go back */
        INVENTORY_FORGET,  /* remove the reservation */
        INVENTORY_SQL_COUNT
};

struct inventory {
        bool seed;      /* the sample data */
        bool seed_load; /* and what assent-load --items orders */
        sqlite3_stmt *sql[INVENTORY_SQL_COUNT];
};

extern const struct assent_handlers inventory_handlers;

enum assent_err inventory_setup(void *app, struct assent_tx *tx);

#endif
